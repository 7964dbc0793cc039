#pragma once
// Which types may live in memory that several processes map, each at an address of its own; and the compiler's message
// when one may not:
//   error: static assertion failed: tandem: a raw pointer cannot live in shared memory: ...
//   in instantiation of unshareable<my::state, member<2>, int*>
#include <atomic>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <tandem/detail/base_aggregate.hpp>
#include <tandem/detail/base_enable_shared.hpp>
#include <tandem/detail/base_name.hpp>
#include <tandem/detail/base_walk.hpp>

namespace tandem::detail {

/// Why a type cannot live there, by itself: what is inside it is looked at separately.
enum class obstacle {
  none,
  pointer,
  function_pointer,
  member_pointer,
  reference,
  view,
  lock,
  locked_atomic,
  owner,
  one_process,
  lambda,
  polymorphic,
  base_class,
  c_array,
  other_class,
};

/// What is to be done with a type: to look inside it (`none`, and `inside` is not empty), to take it as it is, or to refuse it.
template <obstacle Why, class Inside = types<>>
struct finding {
  static constexpr obstacle why = Why;
  using inside = Inside;
};
using sound = finding<obstacle::none>;

consteval obstacle obstacle_of_std(std::string_view name) {
  if (name == "basic_string_view" || name == "span" || name == "initializer_list") return obstacle::view;
  if (name == "reference_wrapper") return obstacle::reference;
  if (name.ends_with("mutex") || name.starts_with("condition_variable") || name.ends_with("_lock") ||
      name == "lock_guard" || name == "once_flag" || name == "latch" || name == "barrier" ||
      name == "counting_semaphore") {
    return obstacle::lock;
  }
  if (name == "thread" || name == "jthread" || name == "future" || name == "shared_future" || name == "promise" ||
      name == "packaged_task" || name == "stop_token" || name == "stop_source" || name == "coroutine_handle") {
    return obstacle::one_process;
  }
  return obstacle::none;
}

// ---- aggregates ----

inline constexpr std::size_t most_seen_initialisers = 1024;  // a longer C array is not looked past

template <class T, std::size_t N, std::size_t... I>
types<seen_member_type<T, N, I>...> seen_members(std::index_sequence<I...>);

/// Converts to every pointer, and to nothing else: what can be made of it holds one.
struct any_pointer {
  template <class P>
  constexpr operator P*() const noexcept;
};

template <class T, std::size_t... Before>
consteval bool base_takes_pointer_after(std::index_sequence<Before...>) {
  return requires { T{{placeholder<T>{Before}..., any_pointer{}}}; };
}

inline constexpr std::size_t tried_in_base = 32;

/// A pointer among the first members of its base, or those of its own, which come after it. N is its count of initialisers.
template <class T, std::size_t N>
consteval bool shows_pointer_beside_base() {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    return (base_takes_pointer_after<T>(std::make_index_sequence<I>{}) || ...);
  }
  (std::make_index_sequence<tried_in_base>{}) || []<std::size_t... I>(std::index_sequence<I...>) {
    return (takes_between<T, any_pointer>(std::make_index_sequence<I + 1>{}, std::make_index_sequence<N - I - 2>{}) ||
            ...);
  }
  (std::make_index_sequence<N - 1>{});
}

/// What cannot be seen is believed of a type that is copied as bytes.
template <class T, obstacle Else>
using believed = finding<std::is_trivially_copyable_v<T> ? obstacle::none : Else>;

template <class T, std::size_t Initialisers>
consteval auto look_at_members() {
  constexpr std::size_t members = count_members<T, Initialisers>();
  if constexpr (members > max_members) {
    return believed<T, obstacle::c_array>{};
  } else {
    return finding<obstacle::none, decltype(seen_members<T, members>(std::make_index_sequence<members>{}))>{};
  }
}

template <class T>
consteval auto look_into_aggregate() {
  constexpr std::size_t initialisers = count_initialisers<T, 0, most_seen_initialisers>();
  if constexpr (initialisers == 0) {
    return sound{};
  } else if constexpr (initialisers == no_count || initialisers >= most_seen_initialisers) {
    return believed<T, obstacle::other_class>{};
  } else if constexpr (begins_with_base<T, initialisers>()) {
    if constexpr (shows_pointer_beside_base<T, initialisers>()) {
      return finding<obstacle::pointer>{};
    } else {
      return believed<T, obstacle::base_class>{};
    }
  } else if constexpr (initialisers > max_members) {
    return look_at_members<T, initialisers>();
  } else if constexpr (constexpr aggregate_shape shape = shape_of<T, initialisers>(); shape == aggregate_shape::plain) {
    return finding<obstacle::none, decltype(seen_members<T, initialisers>(std::make_index_sequence<initialisers>{}))>{};
  } else if constexpr (shape == aggregate_shape::reference) {
    return finding<obstacle::reference>{};
  } else {
    return look_at_members<T, initialisers>();
  }
}

// ---- one type, without what is inside it ----

template <class T>
consteval auto look_at_class() {
  constexpr std::string_view name = std_name<T>();
  if constexpr (name == "array" || name == "optional" || name == "atomic") {
    if constexpr (requires { requires !T::is_always_lock_free; }) {
      return finding<obstacle::locked_atomic>{};
    } else {
      return finding<obstacle::none, types<std::remove_const_t<typename T::value_type>>>{};
    }
  } else if constexpr (name == "pair" || name == "tuple" || name == "variant") {
    return finding<obstacle::none, typename arguments_of<T>::type>{};
  } else if constexpr (name == "atomic_flag") {
    return sound{};
  } else if constexpr (obstacle_of_std(name) != obstacle::none) {
    return finding<obstacle_of_std(name)>{};
  } else if constexpr (is_lambda<T>() && !std::is_empty_v<T>) {
    return finding<obstacle::lambda>{};
  } else if constexpr (std::is_aggregate_v<T> && !std::is_union_v<T>) {
    return look_into_aggregate<T>();
  } else if constexpr (std::is_union_v<T> && requires { T{any_pointer{}}; }) {
    return finding<obstacle::pointer>{};  // its first member is one; of the others nothing can be seen
  } else if constexpr (std::is_polymorphic_v<T>) {
    return finding<obstacle::polymorphic>{};
  } else {
    return believed < T, name.empty() ? obstacle::other_class : obstacle::owner > {};
  }
}

template <class T>
consteval auto look_at() {
  if constexpr (std::is_reference_v<T>) {
    return finding<obstacle::reference>{};
  } else if constexpr (enable_shared<T> || std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    return sound{};
  } else if constexpr (std::is_array_v<T>) {
    return finding<obstacle::none, types<std::remove_const_t<std::remove_all_extents_t<T>>>>{};
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return finding < std::is_function_v<std::remove_pointer_t<T>> ? obstacle::function_pointer : obstacle::pointer > {};
  } else if constexpr (std::is_member_pointer_v<T>) {
    return finding<obstacle::member_pointer>{};
  } else if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    return look_at_class<T>();
  } else {
    return finding<obstacle::other_class>{};
  }
}

template <class T>
using found_at = decltype(look_at<std::remove_cv_t<T>>());

// ---- the walk ----

template <class T>
consteval bool can_be_shared();

template <class... T>
consteval bool all_can_be_shared(types<T...>) {
  return (can_be_shared<T>() && ...);
}

template <class T>
consteval bool can_be_shared() {
  return found_at<T>::why == obstacle::none && all_can_be_shared(typename found_at<T>::inside{});
}

/// True if a lock of tandem's is anywhere inside.
template <class T>
consteval bool holds_locks();

template <class... T>
consteval bool any_holds_locks(types<T...>) {
  return (holds_locks<T>() || ...);
}

template <class T>
consteval bool holds_locks() {
  return is_of_session<T> || any_holds_locks(typename found_at<T>::inside{});
}

// ---- the sentence ----

/// Names, in the compiler's output, the way from the outermost type to the refused one, and says what to do instead.
template <class... Way>
struct unshareable {
  static constexpr obstacle why = found_at<typename last_of<Way...>::type>::why;
  static_assert(why != obstacle::pointer,
                "tandem: a raw pointer cannot live in shared memory, which every process has at another address: keep "
                "an index into a shared_array instead");
  static_assert(why != obstacle::function_pointer,
                "tandem: a function pointer cannot live in shared memory, since each program has its functions "
                "elsewhere: keep an enum, and choose the function by it");
  static_assert(why != obstacle::member_pointer,
                "tandem: a pointer to member cannot live in shared memory: keep an enum, and choose the member by it");
  static_assert(why != obstacle::reference,
                "tandem: a reference (or std::reference_wrapper) cannot live in shared memory, which every process has "
                "at another address: keep the value itself");
  static_assert(why != obstacle::view,
                "tandem: a view (std::string_view, std::span) cannot live in shared memory, since it points to "
                "memory of one process: keep what it looks at, in a std::array");
  static_assert(
      why != obstacle::lock,
      "tandem: a lock of the standard library works in one process only: use its namesake in <tandem/sync.hpp>");
  static_assert(why != obstacle::locked_atomic,
                "tandem: this atomic is not lock-free: its lock would be in one process only; use a smaller type, or a "
                "tandem::mutex");
  static_assert(why != obstacle::owner,
                "tandem: this class of the standard library keeps what it holds in the memory of one process: use "
                "std::array, which holds its elements in itself, or a shared_array");
  static_assert(why != obstacle::one_process,
                "tandem: threads, futures and stop tokens of the standard library belong to one process: keep a "
                "std::atomic or a tandem::event");
  static_assert(why != obstacle::lambda,
                "tandem: a lambda with captures cannot live in shared memory: keep what it captures, and call the "
                "function in each process");
  static_assert(why != obstacle::polymorphic,
                "tandem: a class with virtual functions cannot live in shared memory, since it holds a pointer to "
                "functions of one process: use an enum or a std::variant");
  static_assert(why != obstacle::base_class,
                "tandem: an aggregate with a base class cannot be taken apart: make the base a member, or specialise "
                "tandem::enable_shared as true");
  static_assert(why != obstacle::c_array,
                "tandem: an aggregate with so many members cannot be taken apart: group them, or specialise "
                "tandem::enable_shared as true");
  static_assert(why != obstacle::other_class,
                "tandem: a class that is not trivially copyable, with constructors, private members or a destructor, "
                "cannot live in shared memory unless its author says that it may: specialise tandem::enable_shared as "
                "true for it, or make it an aggregate");
};

// ---- the way to what is refused ----

template <class T, class... Way>
consteval auto way_to_obstacle();

// Into the first of the types inside the last of `Way` that cannot be shared.
template <std::size_t I, class... Way, class First, class... Rest>
consteval auto way_into(types<First, Rest...>) {
  using parent = typename last_of<Way...>::type;
  constexpr std::string_view name = std_name<parent>();
  constexpr bool numbered = !std::is_array_v<parent> && name != "array" && name != "optional" && name != "atomic";
  if constexpr (can_be_shared<First>()) {
    return way_into<I + 1, Way...>(types<Rest...>{});
  } else if constexpr (numbered) {
    return way_to_obstacle<First, Way..., member<I>>();
  } else {
    return way_to_obstacle<First, Way..., element>();
  }
}

template <class T, class... Way>
consteval auto way_to_obstacle() {
  if constexpr (can_be_shared<T>()) {
    return static_cast<accepted*>(nullptr);
  } else if constexpr (found_at<T>::why != obstacle::none) {
    return static_cast<unshareable<Way..., T>*>(nullptr);
  } else {
    return way_into<0, Way..., T>(typename found_at<T>::inside{});
  }
}

/// Refuses to compile, in a readable sentence, if a T cannot live in shared memory.
template <class T>
constexpr void require_shareable() {
  static_cast<void>(sizeof(std::remove_pointer_t<decltype(way_to_obstacle<T>())>));
}

}  // namespace tandem::detail
