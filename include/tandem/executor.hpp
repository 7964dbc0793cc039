#pragma once
// What all pools have in common, as a concept: for functions that take whichever pool there is.
#include <concepts>

#include <tandem/detail/pool_members.hpp>
#include <tandem/detail/pool_options.hpp>
#include <tandem/future.hpp>

namespace tandem {

/// A thread_pool, a process_pool, a pool, or what has their members.
template <class P>
concept executor = requires(P& p, int (*f)(int)) {
  { p.submit(f, 1) } -> std::same_as<future<int>>;
  { p.submit(task_options{}, f, 1) } -> std::same_as<future<int>>;
  { p.try_submit(f, 1) } -> std::same_as<std::optional<future<int>>>;
  p.close();
  p.wait();
  { p.wait_for(nanoseconds{}) } -> std::same_as<bool>;
  { p.shutdown(shutdown_options{}) } -> std::same_as<shutdown_report>;
  { p.stats() } -> std::same_as<pool_stats>;
  { p.workers() } -> std::convertible_to<unsigned>;
};

}  // namespace tandem
