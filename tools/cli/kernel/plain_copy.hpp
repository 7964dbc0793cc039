#pragma once
#include <sys/types.h>

#include <cstddef>

namespace cli::kernel {

/// A copy of this program as it was: nothing that happens here afterwards, tandem included, is in it. It waits for
/// tasks, does them one after the other, and ends with this object or with the program.
class plain_copy {
 public:
  struct task {
    std::size_t contestant = 0;
    int runs = 0;
    std::size_t held_bytes = 0;
  };
  struct result {
    double micros = 0;
    int error = 0;  // an errno: it could not be done
  };
  /// Runs in the copy, and throws nothing.
  using worker = result (*)(const task&);

  /// Errors: std::system_error. Needs: no other thread.
  explicit plain_copy(worker);
  plain_copy(const plain_copy&) = delete;
  plain_copy& operator=(const plain_copy&) = delete;
  ~plain_copy();
  /// Errors: std::system_error: what the copy could not do, or that it is gone.
  double run(const task&) const;

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
};

}  // namespace cli::kernel
