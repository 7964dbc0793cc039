#pragma once
// Which tandem::thread runs the caller.
namespace tandem::detail {
class thread_core;
}
namespace tandem::worker {

/// A thread-local pointer; nullptr outside of tandem's threads.
detail::thread_core*& current_unit() noexcept;

}  // namespace tandem::worker
