#pragma once
// The members of an aggregate, through Boost.PFR. The members are counted here: PFR 1.81 counts by trying sizeof(T) * 8
// initialisers (gigabytes of compiler memory for a large std::array), and stops at C arrays and bases with errors of
// its own. What PFR cannot bind is found first, so that the refusal can be worded.
#include <cstddef>
#include <type_traits>
#include <utility>

#include <boost/pfr/core.hpp>

namespace tandem::detail {

template <class T>
inline constexpr bool is_assignable = std::is_move_assignable_v<T> || std::is_copy_assignable_v<T>;

// PFR's own placeholders: convertible to a prvalue of any type, or to an lvalue, for a class that may have references
// as members (they are never assignable). Copying from an lvalue would instantiate the copy of a vector<unique_ptr>.
template <class T>
using placeholder =
    std::conditional_t<is_assignable<T> || !std::is_copy_constructible_v<T>, boost::pfr::detail::ubiq_rref_constructor,
                       boost::pfr::detail::ubiq_lref_constructor>;

/// Converts to the bases of T and nothing else.
template <class T>
struct base_placeholder {
  template <class Base>
  requires(std::is_base_of_v<Base, T> && !std::is_same_v<Base, T>) constexpr operator Base() const noexcept;
};

/// Converts to nothing: what it initialises, such as a std::any, takes everything, and tells nothing.
struct unconvertible {};

// Each of these initialises some kinds of members and not others, which tells references from values.
struct as_prvalue {  // not U&
  template <class U>
  constexpr operator U() const noexcept;
};
struct as_lvalue {  // not U&&, not a value that cannot be copied
  template <class U>
  constexpr operator U&() const noexcept;
};
struct as_const_only {  // nothing but const U&: for a value, U is never deduced const
  template <class U>
  requires(std::is_const_v<U>) constexpr operator U&() const noexcept;
};
struct as_copyable {  // not a value that cannot be copied
  template <class U>
  requires(std::is_copy_constructible_v<U>) constexpr operator U() const noexcept;
};

template <class T, std::size_t... I>
consteval bool takes(std::index_sequence<I...>) {
  return requires { T{placeholder<T>{I}...}; };
}

template <class T, class Special, std::size_t... I, std::size_t... J>
consteval bool takes_between(std::index_sequence<I...>, std::index_sequence<J...>) {
  return requires { T{placeholder<T>{I}..., Special{}, placeholder<T>{J}...}; };
}

/// `Empty` times {} between placeholders: a {} stands for a whole member, where placeholders fill a C array one element
/// at a time.
template <class T, std::size_t Empty, std::size_t... I, std::size_t... J>
consteval bool takes_empty(std::index_sequence<I...>, std::index_sequence<J...>) {
  if constexpr (Empty == 8) return requires {
      T{placeholder<T>{I}..., {}, {}, {}, {}, {}, {}, {}, {}, placeholder<T>{J}...};
    };
  if constexpr (Empty == 4) return requires {
      T{placeholder<T>{I}..., {}, {}, {}, {}, placeholder<T>{J}...};
    };
  if constexpr (Empty == 2) return requires {
      T{placeholder<T>{I}..., {}, {}, placeholder<T>{J}...};
    };
  if constexpr (Empty == 1) return requires {
      T{placeholder<T>{I}..., {}, placeholder<T>{J}...};
    };
}

template <class T, std::size_t N>
inline constexpr bool takes_count = takes<T>(std::make_index_sequence<N>{});

inline constexpr std::size_t max_members = 100;       // as far as PFR goes
inline constexpr std::size_t max_initialisers = 256;  // a C array of more elements is refused all the same

/// The largest N in [Lo, Hi) that T takes; it takes Lo, and not Hi.
template <class T, std::size_t Lo, std::size_t Hi>
consteval std::size_t bisect_initialisers() {
  constexpr std::size_t middle = Lo + (Hi - Lo) / 2;
  if constexpr (Hi - Lo <= 1) {
    return Lo;
  } else if constexpr (takes_count<T, middle>) {
    return bisect_initialisers<T, middle, Hi>();
  } else {
    return bisect_initialisers<T, Lo, middle>();
  }
}

template <class T, std::size_t Lo, std::size_t Hi, std::size_t Most>
consteval std::size_t grow_initialisers() {
  if constexpr (Lo >= Most) {
    return Lo;
  } else if constexpr (takes_count<T, Hi>) {
    return grow_initialisers<T, Hi, Hi * 2, Most>();
  } else {
    return bisect_initialisers<T, Lo, Hi>();
  }
}

/// How many initialisers T takes at most; elements of C arrays count one by one. `no_count` if none fits. From `Most` on
/// it may be more.
inline constexpr std::size_t no_count = static_cast<std::size_t>(-1);
template <class T, std::size_t First = 0, std::size_t Most = max_initialisers>
consteval std::size_t count_initialisers() {
  if constexpr (First > max_members) {
    return no_count;
  } else if constexpr (takes_count<T, First>) {
    return grow_initialisers < T, First, First == 0 ? 1 : First * 2, Most > ();
  } else {
    return count_initialisers<T, First + 1, Most>();  // a member without a default value: some must be given
  }
}

/// Member At, of N initialisers, is not a C array: after a {} for it all others still fit, or no number of others does
/// (then it is a class without a default value).
template <class T, std::size_t N, std::size_t At, std::size_t After>
consteval bool single_member() {
  if constexpr (takes_empty<T, 1>(std::make_index_sequence<At>{}, std::make_index_sequence<After>{})) {
    return After == N - At - 1;
  } else if constexpr (After == 0) {
    return true;
  } else {
    return single_member<T, N, At, After - 1>();
  }
}

template <class T, std::size_t N, std::size_t At>
consteval bool free_of_c_arrays() {
  if constexpr (At == N) {
    return true;
  } else {
    constexpr std::size_t left = N - At;
    constexpr std::size_t step = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    if constexpr (takes_empty<T, step>(std::make_index_sequence<At>{}, std::make_index_sequence<left - step>{})) {
      return free_of_c_arrays<T, N, At + step>();
    } else {
      return []<std::size_t... I>(std::index_sequence<I...>) {
        return (single_member<T, N, At + I, N - At - I - 1>() && ...);
      }
      (std::make_index_sequence<step>{}) && free_of_c_arrays<T, N, At + step>();
    }
  }
}

template <class T, std::size_t At, std::size_t After>
consteval bool holds_value() {
  constexpr auto takes_as = []<class Special>(Special) {
    return takes_between<T, Special>(std::make_index_sequence<At>{}, std::make_index_sequence<After>{});
  };
  return takes_as(as_prvalue{}) && !takes_as(as_const_only{}) && (takes_as(as_lvalue{}) || !takes_as(as_copyable{}));
}

/// A class that can be assigned has no references; in another each member is tried.
template <class T, std::size_t N, std::size_t... I>
consteval bool free_of_references(std::index_sequence<I...>) {
  if constexpr (is_assignable<T>) {
    return true;
  } else {
    return (holds_value<T, I, N - I - 1>() && ...);
  }
}

enum class aggregate_shape { plain, base_class, c_array, reference, too_many, opaque };

/// The first of the N initialisers is that of a base.
template <class T, std::size_t N>
consteval bool begins_with_base() {
  return takes_between<T, base_placeholder<T>>(std::index_sequence<>{}, std::make_index_sequence<N - 1>{}) &&
         !takes_between<T, unconvertible>(std::index_sequence<>{}, std::make_index_sequence<N - 1>{});
}

/// What stands in the way of taking the aggregate T apart, if anything; N is its count_initialisers.
template <class T, std::size_t N>
consteval aggregate_shape shape_of() {
  if constexpr (N == no_count) {
    return aggregate_shape::opaque;
  } else if constexpr (N == 0) {
    return aggregate_shape::plain;
  } else if constexpr (begins_with_base<T, N>()) {
    return aggregate_shape::base_class;
  } else if constexpr (N > max_members) {
    return free_of_c_arrays<T, N, N - 8>() && free_of_c_arrays<T, N, 0>() ? aggregate_shape::too_many
                                                                          : aggregate_shape::c_array;
  } else if constexpr (!free_of_c_arrays<T, N, 0>()) {
    return aggregate_shape::c_array;
  } else if constexpr (!free_of_references<T, N>(std::make_index_sequence<N>{})) {
    return aggregate_shape::reference;
  } else {
    return aggregate_shape::plain;
  }
}

/// References to the members of v, in order. Only for a plain shape. Below PFR's public functions, since those count.
template <class T>
constexpr auto members_of(T& v) noexcept {
  return boost::pfr::detail::tie_as_tuple(v,
                                          boost::pfr::detail::size_t_<count_initialisers<std::remove_const_t<T>>()>{});
}

template <std::size_t I, class Members>
constexpr decltype(auto) member_at(const Members& members) noexcept {
  return boost::pfr::detail::sequence_tuple::get<I>(members);
}

// ---- the same for types that are only looked at, C arrays and bit-fields included ----

/// How many of the initialisers from At to N are elements of the member that begins there. 0: not to be found out, since
/// a member after it needs a value.
template <class T, std::size_t N, std::size_t At, std::size_t Lo, std::size_t Hi>
consteval std::size_t bisect_extent() {  // as many as Lo are too few, as many as Hi are enough
  constexpr std::size_t middle = Lo + (Hi - Lo) / 2;
  if constexpr (Hi - Lo <= 1) {
    return Hi;
  } else if constexpr (takes_empty<T, 1>(std::make_index_sequence<At>{}, std::make_index_sequence<N - At - middle>{})) {
    return bisect_extent<T, N, At, Lo, middle>();
  } else {
    return bisect_extent<T, N, At, middle, Hi>();
  }
}

template <class T, std::size_t N, std::size_t At>
consteval std::size_t extent_at() {
  if constexpr (takes_empty<T, 1>(std::make_index_sequence<At>{}, std::make_index_sequence<N - At - 1>{})) {
    return 1;
  } else if constexpr (takes_empty<T, 1>(std::make_index_sequence<At>{}, std::index_sequence<>{})) {
    return bisect_extent<T, N, At, 1, N - At>();
  } else {
    return 0;
  }
}

/// The number of members of T, which takes N initialisers; no_count if that cannot be found out.
template <class T, std::size_t N, std::size_t At = 0, std::size_t Found = 0>
consteval std::size_t count_members() {
  if constexpr (At == N) {
    return Found;
  } else if constexpr (Found > max_members) {
    return Found;
  } else {
    constexpr std::size_t extent = extent_at<T, N, At>();
    if constexpr (extent == 0) {
      return no_count;
    } else {
      return count_members<T, N, At + extent, Found + 1>();
    }
  }
}

template <class T, std::size_t N, std::size_t I>
using seen_member_type = std::remove_const_t<std::remove_reference_t<decltype(member_at<I>(
    boost::pfr::detail::tie_as_tuple(std::declval<const T&>(), boost::pfr::detail::size_t_<N>{})))>>;

template <class T, std::size_t I>
using member_type =
    std::remove_const_t<std::remove_reference_t<decltype(member_at<I>(members_of(std::declval<T&>())))>>;

}  // namespace tandem::detail
