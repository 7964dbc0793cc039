#pragma once
// The standard error of workers that have it captured: passed on to the program's, and its end kept.
#include <deque>
#include <span>
#include <string>
#include <vector>

#include <tandem/file_descriptor.hpp>

#include "os/kernel.hpp"

namespace tandem::worker {

/// Threads: one.
class error_taps {
 public:
  /// One whose worker is not there yet. Errors: std::bad_alloc.
  void add(file_descriptor end);
  /// The last one added is that of this worker.
  void name_last(pid_t pid) noexcept { taps_.back().pid = pid; }
  /// Reads what can be read, and passes it on as far as standard error takes it: what it does not take stays, and holds
  /// its writer up, as it would without us.
  void pass_on();
  /// The end of all that the worker wrote, which has ended; others may hold its standard error still.
  std::string end_of(pid_t);
  /// What to poll for, so that pass_on() has something to do.
  template <class Set>
  void add_to(Set& set) const {
    bool waits = false;
    for (const tap& t : taps_) {
      waits = waits || !t.waiting.empty();
      if (t.waiting.empty()) set.push_back({t.end.get()});
    }
    if (waits) set.push_back({2, false, true});
  }
  template <class Add>
  void each_descriptor(Add add) const {
    for (const tap& t : taps_) add(t.end);
  }
  bool empty() const noexcept { return taps_.empty(); }

 private:
  struct tap {
    pid_t pid = 0;  // 0: the worker has ended, or was never made
    file_descriptor end;
    std::string tail;     // the last of what was read
    std::string waiting;  // what was read and not passed on
    bool at_end = false;
  };
  static bool read(tap&);
  static void write(tap&);

  std::deque<tap> taps_;
};

}  // namespace tandem::worker
