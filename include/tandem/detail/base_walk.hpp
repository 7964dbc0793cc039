#pragma once
// Words for the walk through a type, which the compiler's messages show: refused<my::job, member<2>, int*>.
#include <cstddef>
#include <type_traits>

namespace tandem::detail {

/// Steps on the way from a type to the one inside it that is refused. Positions count from 0.
template <std::size_t Position>
struct member {};
struct element {};

struct accepted {};

template <class... T>
struct types {};

template <class First, class... Rest>
struct last_of : last_of<Rest...> {};
template <class Last>
struct last_of<Last> {
  using type = Last;
};

template <class T>
struct arguments_of;
template <template <class...> class C, class... A>
struct arguments_of<C<A...>> {
  using type = types<std::remove_const_t<A>...>;
};

}  // namespace tandem::detail
