#pragma once
// The task that map() and its relatives submit: a function over a few elements. It can cross to a process where the
// function and the elements can, and names the function by its code.
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/detail/call.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/detail/transfer_callable.hpp>
#include <tandem/transfer.hpp>

namespace tandem::detail {

/// What an element gave; of a reference: where it refers to.
template <class R>
using element_result =
    std::conditional_t<std::is_void_v<R>, char,
                       std::conditional_t<std::is_reference_v<R>, std::remove_reference_t<R>*, std::remove_const_t<R>>>;

/// What a chunk gave: the results of its first elements, in order, and why it went no further.
template <class R>
struct chunk_results {
  std::vector<element_result<R>> values = {};
  std::exception_ptr failure = nullptr;
  nanoseconds took{};
};

/// An element that stays where it is.
template <class T>
struct placed {
  using type = T;
  T* at;
};
template <class Element>
struct referred_element {
  static constexpr bool is_placed = false;
  using type = Element;
};
template <class T>
struct referred_element<placed<T>> {
  static constexpr bool is_placed = true;
  using type = T;
};

/// Calls F with each of some elements, until one fails. `Element` is a value, which is moved into the call, or passed as
/// an lvalue where F takes nothing else; or placed, and passed as an lvalue.
template <class R, class F, class Element>
struct chunk_call {
  // What F is called with, and whether a token stands before it.
  static constexpr bool is_placed = referred_element<Element>::is_placed;
  using referred = typename referred_element<Element>::type&;
  using moved = std::conditional_t<is_placed, referred, Element>;
  static constexpr bool takes_moved = std::is_invocable_v<F&, moved> || std::is_invocable_v<F&, std::stop_token, moved>;
  using argument = std::conditional_t<takes_moved, moved, referred>;
  static constexpr bool takes_stop = std::is_invocable_v<F&, std::stop_token, argument>;
  static constexpr bool is_callable = takes_stop || std::is_invocable_v<F&, argument>;

  F f;

  chunk_results<R> operator()(std::vector<Element> elements) const requires(!takes_stop) {
    return run([](F& function, argument&& a) -> R { return call_as<R>(function, static_cast<argument&&>(a)); },
               elements);
  }
  chunk_results<R> operator()(std::stop_token stop, std::vector<Element> elements) const requires takes_stop {
    return run(
        [&stop](F& function, argument&& a) -> R { return call_as<R>(function, stop, static_cast<argument&&>(a)); },
        elements);
  }

 private:
  template <class Call>
  chunk_results<R> run(Call call, std::vector<Element>& elements) const {
    chunk_results<R> results;
    results.values.reserve(elements.size());
    const clock::time_point begin = clock::now();
    try {
      F function = f;
      for (auto&& element : elements) {  // of bools: each a proxy
        if constexpr (is_placed) {
          add(results.values, call, function, *element.at);
        } else {
          add(results.values, call, function, static_cast<argument&&>(element));
        }
      }
    } catch (...) {
      results.failure = std::current_exception();
    }
    results.took = clock::now() - begin;
    return results;
  }
  template <class Call>
  static void add(std::vector<element_result<R>>& values, Call& call, F& function, argument&& a) {
    if constexpr (std::is_void_v<R>) {
      call(function, static_cast<argument&&>(a));
      values.push_back('\0');
    } else if constexpr (std::is_reference_v<R>) {
      values.push_back(std::addressof(call(function, static_cast<argument&&>(a))));
    } else {
      values.emplace_back(call(function, static_cast<argument&&>(a)));
    }
  }
};

}  // namespace tandem::detail

namespace tandem {

template <class R, class F, class Element>
requires detail::transferable_callable<F>
struct transfer<detail::chunk_call<R, F, Element>> {
  static void write(writer& w, const detail::chunk_call<R, F, Element>& chunk) {
    detail::write_callable<F>(w, chunk.f);
  }
  static detail::chunk_call<R, F, Element> read(reader& r) { return {detail::read_callable<F>(r)}; }
};

template <class R>
requires transferable<detail::element_result<R>>
struct transfer<detail::chunk_results<R>> {
  static constexpr bool carries_handles = tandem::carries_handles<detail::element_result<R>>;
  static void write(writer& w, const detail::chunk_results<R>& results) {
    w(results.values);
    w(results.took);
    w(results.failure != nullptr);
    if (results.failure) detail::write_failure(w, results.failure);
  }
  static detail::chunk_results<R> read(reader& r) {
    detail::chunk_results<R> results;
    r(results.values);
    r(results.took);
    if (detail::read_value<bool>(r)) results.failure = detail::read_failure(r);
    return results;
  }
};

}  // namespace tandem
