#pragma once
// Waiting for the first of many: ends of pipes, connections, queues, processes, threads, descriptors.
//
//   switch (tandem::wait_any(std::tie(questions, worker))) {
//     case 0: answer(questions.receive()); break;
//     case 1: worker.get(); break;
//   }
#include <array>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/detail/channel_end.hpp>
#include <tandem/detail/channel_wait.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/file_descriptor.hpp>
#include <tandem/pipe.hpp>

namespace tandem {

namespace detail {

/// The index of one that is ready; nothing at the deadline.
TANDEM_EXPORT std::optional<std::size_t> wait_entries(std::span<const wait_entry> entries, clock::time_point deadline);

template <class R>
concept range_of_handles = requires(std::remove_reference_t<R>& range) {
  std::begin(range) != std::end(range);
  requires waitable<std::remove_cvref_t<decltype(*std::begin(range))>>;
};

template <class... H>
std::optional<std::size_t> wait_tuple(const std::tuple<H&...>& handles, clock::time_point deadline) {
  static_assert(
      (waitable<std::remove_const_t<H>> && ...),
      "tandem: wait_any waits for receivers, connections, listeners, queues, processes, threads, file_descriptors and "
      "the numbers of descriptors: one of these is something else");
  if constexpr ((waitable<std::remove_const_t<H>> && ...)) {
    const auto entries = std::apply(
        [](const H&... each) {
          return std::array<wait_entry, sizeof...(H)>{waiting<std::remove_const_t<H>>::of(each)...};
        },
        handles);
    return wait_entries(entries, deadline);
  }
  return std::nullopt;
}

template <range_of_handles R>
std::optional<std::size_t> wait_range(R& handles, clock::time_point deadline) {
  using handle = std::remove_cvref_t<decltype(*std::begin(handles))>;
  if constexpr (!std::is_reference_v<decltype(*std::begin(handles))>) {  // a view that makes values
    std::vector<handle> values;
    for (auto&& value : handles) values.push_back(std::forward<decltype(value)>(value));
    return wait_range(values, deadline);
  } else {
    std::vector<wait_entry> entries;
    if constexpr (requires { std::size(handles); }) entries.reserve(std::size(handles));
    for (const handle& each : handles) entries.push_back(waiting<handle>::of(each));
    return wait_entries(entries, deadline);
  }
}

}  // namespace detail

/// The index of a handle that is ready: with something to receive or to accept, ended, or closed. Of several that are,
/// another one each time. Handles are receivers, connections, listeners, queues, processes, threads, file_descriptors and
/// numbers of descriptors (readable); a tuple of references to them (std::tie) or a range of one type, also a view.
/// Blocks: until one is. Threads: any; the handles stay where they are meanwhile. Errors: std::invalid_argument if there
/// are none, or a number is no open descriptor; resource_exhausted, also for more different descriptors than
/// RLIMIT_NOFILE allows. Signals: do not disturb it. Cost: one ppoll(2) while it
/// waits, in proportion to the number of handles (docs/benchmarks.md); for threads and queues an eventfd more, for each
/// queue a thread. Who serves thousands registers their native_handle() with an epoll of the program's own.
template <class... H>
std::size_t wait_any(std::tuple<H&...> handles) {
  return *detail::wait_tuple(handles, detail::no_deadline);
}
template <detail::range_of_handles R>
std::size_t wait_any(R&& handles) {
  return *detail::wait_range(handles, detail::no_deadline);
}
/// The same for no longer than `timeout`: nothing if none was ready by then. Zero and less only asks.
/// Blocks: until one is, or then. Errors: as without a timeout; nothing, and no error, if there are no handles.
template <class... H>
std::optional<std::size_t> wait_any(std::tuple<H&...> handles, nanoseconds timeout) {
  return detail::wait_tuple(handles, detail::moment_after(timeout));
}
template <detail::range_of_handles R>
std::optional<std::size_t> wait_any(R&& handles, nanoseconds timeout) {
  return detail::wait_range(handles, detail::moment_after(timeout));
}

// ---- what can be waited for -----------------------------------------------------------------------------------------

namespace detail {

/// Of a handle with an end of a channel inside.
template <class H>
struct waiting_for_end {
  static wait_entry of(const H& handle) {
    return {&handle, [](const void* h) { return channel_access::end(*static_cast<const H*>(h)).look(); },
            [](const void* h) { return channel_access::end(*static_cast<const H*>(h)).ready(); }, nullptr, nullptr};
  }
};
template <class T>
struct waiting<receiver<T>> : waiting_for_end<receiver<T>> {};
template <class S, class R>
struct waiting<connection<S, R>> : waiting_for_end<connection<S, R>> {};

template <>
struct waiting<int> {
  static wait_entry of(const int& fd) {
    return {&fd, [](const void* h) { return wait_state{*static_cast<const int*>(h)}; }, nullptr, nullptr, nullptr};
  }
};
template <>
struct waiting<file_descriptor> {
  static wait_entry of(const file_descriptor& fd) {
    return {&fd, [](const void* h) { return wait_state{static_cast<const file_descriptor*>(h)->get()}; }, nullptr,
            nullptr, nullptr};
  }
};

}  // namespace detail
}  // namespace tandem
