#pragma once
// What is to be done once, by whoever comes first.
#include <functional>
#include <utility>

#include <tandem/detail/sync_word.hpp>

namespace tandem {

class once_flag;

namespace detail {
struct once_access;
constexpr std::uint32_t once_done = 1U << 30;
TANDEM_EXPORT bool begin_once(lock_word&);  // false: it is done
TANDEM_EXPORT void end_once(lock_word&) noexcept;
TANDEM_EXPORT void abandon_once(lock_word&) noexcept;
}  // namespace detail

/// Whether something was done that is done once, by one of several threads or processes.
class once_flag {
 public:
  constexpr once_flag() noexcept = default;
  once_flag(const once_flag&) = delete;
  once_flag& operator=(const once_flag&) = delete;

 private:
  friend struct detail::once_access;
  detail::lock_word word_{0};
};

namespace detail {
struct once_access {
  static lock_word& word(once_flag& flag) noexcept { return flag.word_; }
};
}  // namespace detail

/// Calls `f(arguments...)`, unless a call with this flag has returned before. If it throws, or its thread dies in it, the
/// flag stays as it was, and the next one calls.
/// Blocks: while another calls. Threads: any, of any process of the session, at once. Errors: what `f` throws;
/// std::system_error (resource_deadlock_would_occur) if `f` calls it with the same flag; the first time in a thread:
/// resource_exhausted, not_initialised. Cost: once done, one load.
template <class F, class... A>
void call_once(once_flag& flag, F&& f, A&&... arguments) {
  detail::lock_word& word = detail::once_access::word(flag);
  if (word.load(std::memory_order_acquire) == detail::once_done || !detail::begin_once(word)) return;
  struct unless_done {
    detail::lock_word* word;
    ~unless_done() {
      if (word != nullptr) detail::abandon_once(*word);
    }
  } guard{&word};
  std::invoke(std::forward<F>(f), std::forward<A>(arguments)...);
  guard.word = nullptr;
  detail::end_once(word);
}

template <>
inline constexpr bool detail::is_of_session<once_flag> = true;

}  // namespace tandem
