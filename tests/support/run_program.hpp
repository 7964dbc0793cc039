#pragma once
// Runs a program as a user would, and keeps what it said.
#include <sys/types.h>

#include <string>
#include <vector>

namespace tandem::test {

struct ran {
  int code = -1;  // -1: a signal ended it
  int signal = 0;
  std::string out;  // standard output
  std::string err;
};

/// Runs it to its end. A program that hangs is killed by the test's watchdog, with the test.
ran run(const std::vector<std::string>& command);

/// Runs on until it is waited for; its standard output can be read line by line.
class running_program {
 public:
  explicit running_program(const std::vector<std::string>& command);
  ~running_program();  // kills it if it still runs
  running_program(const running_program&) = delete;
  running_program& operator=(const running_program&) = delete;

  pid_t pid() const noexcept { return pid_; }
  std::string read_line();  // empty at the end
  std::string read_rest();
  ran wait();  // code and signal only

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string buffered_;
};

/// The path of a program that was built beside this test.
std::string program_beside(const std::string& name);

}  // namespace tandem::test
