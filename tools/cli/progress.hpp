#pragma once
#include <string>

namespace cli {

/// One line on standard error that says how far a long measurement is; on a terminal, and nowhere else. It is gone at the
/// end.
class progress {
 public:
  progress();
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress();
  void say(const std::string&) noexcept;

 private:
  bool shown_ = false;
};

}  // namespace cli
