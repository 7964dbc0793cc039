#pragma once
// Trying something in a child: whatever it changes, or is killed by, is the child's.
#include <functional>
#include <string>

namespace cli::kernel {

struct tried {
  int value = 0;          // what the probe gave, if it worked
  int error = 0;          // an errno, if it did not
  int signal = 0;         // what killed the child
  bool untried = false;   // there was no child; the error says why
  std::string said = {};  // by the exception that ended the probe, if one did
  bool worked() const noexcept { return error == 0 && signal == 0; }
  std::string why() const;  // "ENOSYS", "SIGSYS", "not tried: EAGAIN"
};

/// Gives a value from 0 on, or minus an errno; may throw.
using probe = std::function<int()>;

/// Runs it in a copy of this program, which must have no other thread. One that takes seconds is killed.
tried in_child(const probe&);

}  // namespace cli::kernel
