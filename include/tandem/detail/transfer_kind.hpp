#pragma once
// What a type is to the codec: one kind, and the types inside it; or why it cannot cross.
#include <array>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <tandem/detail/base_aggregate.hpp>
#include <tandem/detail/base_name.hpp>
#include <tandem/detail/base_walk.hpp>

namespace tandem {

class writer;
class reader;
template <class T>
struct transfer;

namespace detail {
struct wire;
class block_store;

/// How a type crosses. `refused` ones do not; refusal_of says why.
enum class kind {
  refused,
  hook,         // transfer<T>
  memory,       // each pattern of its bytes is a value
  boolean,      // bool, or an enum of bool
  long_double,  // its padding stays here
  text,         // basic_string
  bits,         // vector<bool>
  vector,
  sequence,  // deque, list
  forward_list,
  set,  // the four sets
  map,  // the four maps
  array,
  bitset,
  complex,
  product,  // pair, tuple
  optional,
  variant,
  duration,
  time_point,
  calendar,  // of <chrono>, those with padding
  path,
  unique_ptr,
  aggregate,
};

/// Why a type cannot cross, by itself: what is inside it is looked at separately.
enum class refusal {
  none,
  pointer,
  function_pointer,
  member_pointer,
  reference,
  reference_member,
  view,
  lock,
  atomic,
  shared_pointer,
  erased_function,
  thread,
  c_array,
  base_class,
  too_many_members,
  opaque_aggregate,
  union_type,
  lambda,
  owned_array,
  deleter,
  polymorphic,
  comparison,
  incomplete_hook,
  immovable_hook,
  volatile_type,
  adaptor,
  other_class,
};

template <class T>
concept has_hook = requires {
  sizeof(transfer<T>);
};

template <class T>
concept has_whole_hook = requires(writer& w, reader& r, const T& value) {
  transfer<T>::write(w, value);
  requires std::is_same_v<decltype(transfer<T>::read(r)), T>;
};

template <class T>
inline constexpr bool is_default_deleter = std_name<T>() == "default_delete";

template <class P>
consteval refusal refusal_of_unique_ptr() {
  if constexpr (!requires(P & p) { *p; }) {
    return refusal::owned_array;
  } else if constexpr (!is_default_deleter<typename P::deleter_type>) {
    return refusal::deleter;
  } else if constexpr (std::is_polymorphic_v<typename P::element_type> && !std::is_final_v<typename P::element_type>) {
    return refusal::polymorphic;
  } else {
    return refusal::none;
  }
}

// A comparison or hash with state cannot be rebuilt from nothing, and a default function pointer is null.
template <class F>
concept stateless = std::is_empty_v<F> && std::is_default_constructible_v<F>;

template <class C>
consteval bool stateless_order() {
  if constexpr (requires { typename C::hasher; }) {
    return stateless<typename C::hasher> && stateless<typename C::key_equal>;
  } else {
    return stateless<typename C::key_compare>;
  }
}

struct verdict {
  detail::kind kind = detail::kind::refused;
  refusal why = refusal::none;
  constexpr verdict(detail::kind k) : kind(k) {}
  constexpr verdict(refusal w) : why(w) {}
};

/// Why a class of the standard library cannot cross; `none` for another.
consteval refusal refusal_of_std(std::string_view name) {
  if (name == "shared_ptr" || name == "weak_ptr") return refusal::shared_pointer;
  if (name == "reference_wrapper") return refusal::reference;
  if (name == "basic_string_view" || name == "span" || name == "initializer_list") return refusal::view;
  if (name == "atomic" || name == "atomic_flag" || name == "atomic_ref") return refusal::atomic;
  if (name.ends_with("mutex") || name.starts_with("condition_variable") || name.ends_with("_lock") ||
      name == "lock_guard" || name == "once_flag" || name == "latch" || name == "barrier" ||
      name == "counting_semaphore") {
    return refusal::lock;
  }
  if (name == "function" || name == "packaged_task" || name == "move_only_function") return refusal::erased_function;
  if (name == "thread" || name == "jthread" || name == "future" || name == "shared_future" || name == "promise" ||
      name == "stop_token" || name == "stop_source") {
    return refusal::thread;
  }
  if (name == "stack" || name == "queue" || name == "priority_queue") return refusal::adaptor;
  return refusal::none;
}

/// The class templates of the standard library, by name.
template <class T>
consteval verdict judge_std(std::string_view name) {
  if (name == "vector") {
    if constexpr (requires {
                    typename T::value_type;
                    requires !std::is_same_v<typename T::value_type, bool>;
                  }) {
      return kind::vector;
    }
    return kind::bits;
  }
  if (name == "basic_string") return kind::text;
  if (name == "array") return kind::array;
  if (name == "pair" || name == "tuple") return kind::product;
  if (name == "optional") return kind::optional;
  if (name == "variant") return kind::variant;
  if (name == "unique_ptr") {
    if constexpr (requires { typename T::deleter_type; }) {
      constexpr refusal why = refusal_of_unique_ptr<T>();
      if constexpr (why != refusal::none) return why;
    }
    return kind::unique_ptr;
  }
  if (name == "deque" || name == "list") return kind::sequence;
  if (name == "forward_list") return kind::forward_list;
  if (name.starts_with("unordered_")) name.remove_prefix(10);
  if (name.starts_with("multi")) name.remove_prefix(5);
  if (name == "map" || name == "set") {
    if constexpr (requires { typename T::key_type; }) {
      if constexpr (!stateless_order<T>()) return refusal::comparison;
    }
    return name == "map" ? kind::map : kind::set;
  }
  if (name == "bitset") return kind::bitset;
  if (name == "complex") {
    if constexpr (requires {
                    typename T::value_type;
                    requires std::is_same_v<typename T::value_type, long double>;
                  }) {
      return kind::complex;
    }
    return kind::memory;
  }
  if (name == "chrono::duration") return kind::duration;
  if (name == "chrono::time_point") return kind::time_point;
  if (name.starts_with("filesystem::") && name.ends_with("path")) return kind::path;
  if (name.starts_with("chrono::") && sizeof(T) <= 8 && std::is_trivially_copyable_v<T>) {
    // day, month, year, year_month_day: small numbers, which ok() checks
    if constexpr (std::has_unique_object_representations_v<T>) return kind::memory;
    if constexpr (requires(const T& date) {
                    date.year();
                    date.month();
                  }) {
      return kind::calendar;
    }
  }
  return refusal_of_std(name);
}

template <class T>
consteval verdict judge_aggregate() {
  switch (shape_of<T, count_initialisers<T>()>()) {
    case aggregate_shape::plain: return kind::aggregate;
    case aggregate_shape::base_class: return refusal::base_class;
    case aggregate_shape::c_array: return refusal::c_array;
    case aggregate_shape::reference: return refusal::reference_member;
    case aggregate_shape::too_many: return refusal::too_many_members;
    case aggregate_shape::opaque: return refusal::opaque_aggregate;
  }
}

template <class T>
consteval verdict judge_class() {
  constexpr std::string_view name = std_name<T>();
  if constexpr (!name.empty()) {
    constexpr verdict of_std = judge_std<T>(name);
    if constexpr (of_std.kind != kind::refused || of_std.why != refusal::none) return of_std;
  }
  if constexpr (std::is_union_v<T>) {
    return refusal::union_type;
  } else if constexpr (is_lambda<T>()) {
    return refusal::lambda;
  } else if constexpr (std::is_aggregate_v<T>) {
    return judge_aggregate<T>();
  } else {
    return refusal::other_class;
  }
}

/// The kind of T, without what is inside it.
template <class T>
consteval verdict judge() {
  if constexpr (has_hook<T>) {
    if constexpr (!has_whole_hook<T>) return refusal::incomplete_hook;
    if constexpr (!std::is_move_constructible_v<T>) return refusal::immovable_hook;
    return kind::hook;
  } else if constexpr (std::is_reference_v<T>) {
    return refusal::reference;
  } else if constexpr (std::is_volatile_v<T>) {
    return refusal::volatile_type;
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::is_same_v<T, bool> ? kind::boolean : std::is_same_v<T, long double> ? kind::long_double : kind::memory;
  } else if constexpr (std::is_enum_v<T>) {
    return std::is_same_v<std::underlying_type_t<T>, bool> ? kind::boolean : kind::memory;
  } else if constexpr (std::is_array_v<T>) {
    return refusal::c_array;
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return std::is_function_v<std::remove_pointer_t<T>> ? refusal::function_pointer : refusal::pointer;
  } else if constexpr (std::is_member_pointer_v<T>) {
    return refusal::member_pointer;
  } else if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    return judge_class<T>();
  } else {
    return refusal::other_class;
  }
}

template <class T>
inline constexpr verdict verdict_of = judge<T>();
template <class T>
inline constexpr kind kind_of = verdict_of<T>.kind;

// ---- what is inside ----

template <class T, std::size_t... I>
types<member_type<T, I>...> members_as_types(std::index_sequence<I...>);

template <class T>
consteval auto inside() {
  constexpr kind k = kind_of<T>;
  if constexpr (k == kind::vector || k == kind::sequence || k == kind::forward_list || k == kind::set ||
                k == kind::array || k == kind::text) {
    return types<std::remove_const_t<typename T::value_type>>{};
  } else if constexpr (k == kind::map) {
    return types<typename T::key_type, typename T::mapped_type>{};
  } else if constexpr (k == kind::product || k == kind::variant) {
    return typename arguments_of<T>::type{};
  } else if constexpr (k == kind::optional) {
    return types<std::remove_const_t<typename T::value_type>>{};
  } else if constexpr (k == kind::duration) {
    return types<typename T::rep>{};
  } else if constexpr (k == kind::time_point) {
    return types<typename T::duration>{};
  } else if constexpr (k == kind::unique_ptr) {
    return types<std::remove_const_t<typename T::element_type>>{};
  } else if constexpr (k == kind::aggregate) {
    return decltype(members_as_types<T>(std::make_index_sequence<count_initialisers<T>()>{})){};
  } else {
    return types<>{};
  }
}

/// The types inside T, in the order in which they cross.
template <class T>
using inside_of = decltype(inside<T>());

// ---- flat types ----

template <class T>
consteval bool flat();

template <class T, class... Members>
consteval bool flat_members(types<Members...>) {
  return sizeof...(Members) > 0 && (flat<Members>() && ...) && (sizeof(Members) + ... + 0) == sizeof(T);
}

/// True if a T is its bytes: no padding, no pointer, and every pattern is a value. Such types cross as memory.
template <class T>
consteval bool flat() {
  constexpr kind k = kind_of<T>;
  if constexpr (k == kind::memory) {
    return true;
  } else if constexpr (k == kind::array || k == kind::duration || k == kind::time_point || k == kind::aggregate) {
    if constexpr (!std::is_trivially_copyable_v<T>) {
      return false;
    } else if constexpr (k == kind::array) {
      return std::tuple_size_v<T> > 0 && flat<std::remove_const_t<typename T::value_type>>();
    } else {
      return flat_members<T>(inside_of<T>{});
    }
  } else {
    return false;
  }
}

template <class T>
inline constexpr bool is_flat = flat<T>();

template <class T>
consteval bool one_block() {
  if constexpr (kind_of<T> == kind::vector) {
    return is_flat<typename T::value_type>;
  } else {
    return kind_of<T> == kind::text;
  }
}
/// Decoding a T reads a count and a block, each once: they may lie where others write.
template <class T>
inline constexpr bool reads_once = one_block<T>();

}  // namespace detail
}  // namespace tandem
