#pragma once
// What a unit of execution calls, and what that gives. As std::jthread: decayed copies, and a stop_token first if the
// function takes one.
#include <concepts>
#include <functional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace tandem {

struct thread_options;
struct process_options;
struct fork_options;

/// The types of the first argument that are options and not functions.
template <class T>
concept unit_options =
    std::same_as<T, thread_options> || std::same_as<T, process_options> || std::same_as<T, fork_options>;

namespace detail {

template <class F, class... A>
inline constexpr bool takes_token = std::is_invocable_v<F, std::stop_token, A...>;

template <class F, class... A>
struct call {};
template <class F, class... A>
requires takes_token<F, A...>
struct call<F, A...> {
  using type = std::invoke_result_t<F, std::stop_token, A...>;
};
template <class F, class... A>
requires(!takes_token<F, A...> && std::is_invocable_v<F, A...>) struct call<F, A...> {
  using type = std::invoke_result_t<F, A...>;
};

/// The type that F gives when it is called with A...; none if it cannot be.
template <class F, class... A>
using result = typename call<std::decay_t<F>, std::decay_t<A>...>::type;

template <class F, class... A>
concept callable_with = requires {
  typename call<std::decay_t<F>, std::decay_t<A>...>::type;
};

/// True if the call gives an R, or R is void: then what it gives is dropped.
template <class R, class F, class... A>
concept gives_result = callable_with<F, A...> &&
    (std::is_void_v<R> || std::is_convertible_v<typename call<std::decay_t<F>, std::decay_t<A>...>::type, R>);

/// Refuses to compile, in a readable sentence, if the call cannot be made, or gives no R.
template <class R, class F, class... A>
constexpr void require_call() {
  static_assert(callable_with<F, A...>,
                "tandem: this function cannot be called with these arguments (they are decayed and passed as rvalues, "
                "with a std::stop_token before them if the function takes one)");
  static_assert(!callable_with<F, A...> || gives_result<R, F, A...>,
                "tandem: this function returns something else than the thread or process is declared for: write the "
                "type that it returns, or leave it to be deduced");
}

/// As std::invoke, with the result as an R.
template <class R, class F, class... A>
R call_as(F&& f, A&&... arguments) {
  if constexpr (std::is_void_v<R>) {
    static_cast<void>(std::invoke(std::forward<F>(f), std::forward<A>(arguments)...));
  } else {
    return std::invoke(std::forward<F>(f), std::forward<A>(arguments)...);
  }
}

/// Stands for the result of a call that is not possible, so that the error can be a sentence.
template <class F, class... A>
struct not_callable {};
template <class T>
inline constexpr bool is_not_callable = false;
template <class F, class... A>
inline constexpr bool is_not_callable<not_callable<F, A...>> = true;

/// What the deduction guides deduce: the result of the call, or not_callable.
template <class F, class... A>
struct deduced {
  using type = not_callable<F, A...>;
};
template <class F, class... A>
requires callable_with<F, A...>
struct deduced<F, A...> {
  using type = result<F, A...>;
};
/// The same of the arguments of submit().
template <class F, class... A>
using task_result = typename deduced<std::decay_t<F>, std::decay_t<A>...>::type;

}  // namespace detail
}  // namespace tandem
