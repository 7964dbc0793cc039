#pragma once
// What wait_any asks of a handle. A type of handle joins by a specialisation of `waiting`, beside its own declaration.
#include <cstddef>

#include <tandem/deadline.hpp>

namespace tandem::detail {

/// The state of a handle, as far as is known without a system call.
struct wait_state {
  int descriptor = -1;  // becomes readable before the handle is ready; -1: it has none, and is watched
  bool ready = false;
  bool asks = false;                                 // a readable descriptor is not enough: `ready` of wait_entry says
  clock::time_point due = clock::time_point::max();  // and is asked then, readable or not
};

struct wait_entry {
  const void* handle = nullptr;
  wait_state (*look)(const void* handle) = nullptr;
  /// True if it is ready; never waits, may make system calls.
  bool (*ready)(const void* handle) = nullptr;
  /// From now on, until unwatch(), the eventfd is signalled once the handle is ready.
  void (*watch)(const void* handle, int event) = nullptr;
  void (*unwatch)(const void* handle, int event) noexcept = nullptr;
};

/// `static wait_entry of(const H&)`.
template <class H>
struct waiting;

template <class H>
concept waitable = requires(const H& handle) {
  waiting<H>::of(handle);
};

}  // namespace tandem::detail
