#pragma once
// The walk through a type that decides whether it may cross, and the compiler's message when it may not:
//   error: static assertion failed: tandem: a raw pointer cannot cross to another process: ...
//   in instantiation of refused<my::job, member<2>, int*>
#include <tandem/detail/transfer_kind.hpp>

namespace tandem::detail {

// ---- the walk ----

/// True if T and all that is inside it may cross. `Outer`: the aggregates being walked; one that contains itself,
/// through a container or a unique_ptr, is not walked again.
template <class T, class... Outer>
consteval bool crosses();

template <class... Outer, class... Inside>
consteval bool all_cross(types<Inside...>) {
  return (crosses<Inside, Outer...>() && ...);
}

template <class T, class... Outer>
consteval bool crosses() {
  if constexpr (kind_of<T> == kind::refused) {
    return false;
  } else if constexpr (kind_of<T> != kind::aggregate) {
    return all_cross<Outer...>(inside_of<T>{});
  } else if constexpr ((std::is_same_v<T, Outer> || ...)) {
    return true;
  } else {
    return all_cross<T, Outer...>(inside_of<T>{});
  }
}

template <class T>
inline constexpr bool can_cross = crosses<T>();

/// True if a T may hold handles. `Outer`: as in crosses().
template <class T, class... Outer>
consteval bool holds_handles();

template <class... Outer, class... Inside>
consteval bool any_holds_handles(types<Inside...>) {
  return (holds_handles<Inside, Outer...>() || ...);
}

template <class T, class... Outer>
consteval bool holds_handles() {
  if constexpr (kind_of<T> == kind::refused) {
    return false;
  } else if constexpr (kind_of<T> == kind::hook) {
    return requires { requires transfer<T>::carries_handles; };
  } else if constexpr (kind_of<T> != kind::aggregate) {
    return any_holds_handles<Outer...>(inside_of<T>{});
  } else if constexpr ((std::is_same_v<T, Outer> || ...)) {
    return false;
  } else {
    return any_holds_handles<T, Outer...>(inside_of<T>{});
  }
}

// ---- the sentence ----

/// Names, in the compiler's output, the way from the outermost type to the refused one, and says what to do instead.
template <class... Way>
struct refused {
  static constexpr refusal why = verdict_of<typename last_of<Way...>::type>.why;
  static_assert(why != refusal::pointer,
                "tandem: a raw pointer cannot cross to another process, where its address means nothing: pass the "
                "value itself, or a std::unique_ptr to it");
  static_assert(why != refusal::function_pointer,
                "tandem: a function pointer cannot cross inside a value: pass the function as what is called, or pass "
                "an enum and choose the function there");
  static_assert(why != refusal::member_pointer,
                "tandem: a pointer to member cannot cross inside a value: pass it as what is called, or pass an enum "
                "and choose the member there");
  static_assert(why != refusal::reference,
                "tandem: a reference (or std::reference_wrapper) cannot cross to another process: pass the value "
                "itself, and return what was changed");
  static_assert(why != refusal::reference_member,
                "tandem: this aggregate has a member that is a reference, which cannot cross to another process: store "
                "the value itself, or write a hook (a specialisation of tandem::transfer)");
  static_assert(why != refusal::view,
                "tandem: a view (std::string_view, std::span, std::initializer_list) cannot cross without what it "
                "looks at: pass a std::string or a std::vector");
  static_assert(why != refusal::lock,
                "tandem: a lock of the standard library works in one process only: keep it out of what is passed; a "
                "process has its own memory, which no other one touches");
  static_assert(why != refusal::atomic, "tandem: an atomic cannot cross as a value: pass the number that it holds");
  static_assert(why != refusal::shared_pointer,
                "tandem: std::shared_ptr and std::weak_ptr share an object within one process only: pass the value, "
                "or a std::unique_ptr to it");
  static_assert(why != refusal::erased_function,
                "tandem: a std::function hides what it holds: pass the function, a lambda without captures, or a "
                "function object whose members may cross");
  static_assert(why != refusal::thread,
                "tandem: threads, futures and stop tokens of the standard library belong to one process: "
                "start a tandem::process there, or take a std::stop_token as the first parameter");
  static_assert(why != refusal::c_array,
                "tandem: a C array, or an aggregate that has one as a member, cannot cross: use std::array (for text, "
                "std::string)");
  static_assert(why != refusal::base_class,
                "tandem: an aggregate with a base class cannot be taken apart: make the base a member, or write a hook "
                "(a specialisation of tandem::transfer)");
  static_assert(why != refusal::too_many_members,
                "tandem: an aggregate of more than 100 members cannot be taken apart: group them, or write a hook (a "
                "specialisation of tandem::transfer)");
  static_assert(why != refusal::opaque_aggregate,
                "tandem: the members of this aggregate cannot be told apart: write a hook (a specialisation of "
                "tandem::transfer)");
  static_assert(why != refusal::union_type,
                "tandem: which member of a union is alive cannot be known: use std::variant, or write a hook (a "
                "specialisation of tandem::transfer)");
  static_assert(why != refusal::lambda,
                "tandem: a lambda with captures cannot cross: pass the captured values as arguments to a lambda "
                "without captures");
  static_assert(why != refusal::owned_array,
                "tandem: a std::unique_ptr to an array does not know its length: use std::vector");
  static_assert(why != refusal::deleter,
                "tandem: a std::unique_ptr with a deleter of its own cannot be rebuilt: use std::default_delete, or "
                "write a hook (a specialisation of tandem::transfer)");
  static_assert(
      why != refusal::polymorphic,
      "tandem: a pointer to a class with virtual functions may hold a class derived from it: use std::variant, make "
      "the class final, or write a hook (a specialisation of tandem::transfer) for the pointer");
  static_assert(why != refusal::comparison,
                "tandem: the comparison or hash of this container has state, which cannot be rebuilt: use an empty "
                "function object, or write a hook (a specialisation of tandem::transfer)");
  static_assert(why != refusal::incomplete_hook,
                "tandem: this specialisation of tandem::transfer needs both: static void write(tandem::writer&, const "
                "T&); static T read(tandem::reader&);");
  static_assert(why != refusal::immovable_hook,
                "tandem: what tandem::transfer<T>::read returns has to be moved into place: make T movable, or pass a "
                "std::unique_ptr<T> and write the hook for that");
  static_assert(why != refusal::volatile_type, "tandem: a volatile member cannot cross: drop the volatile");
  static_assert(
      why != refusal::adaptor,
      "tandem: std::stack, std::queue and std::priority_queue do not show what they hold: pass the container itself");
  static_assert(why != refusal::other_class,
                "tandem: a class with constructors, private or virtual members cannot be taken apart: make it an "
                "aggregate, or write a hook (a specialisation of tandem::transfer)");
};

// ---- the way to what is refused ----

template <class... Outer>
struct search {
  template <class T, class... Way>
  static consteval auto from() {
    if constexpr (kind_of<T> == kind::refused) {
      return static_cast<refused<Way..., T>*>(nullptr);
    } else if constexpr (kind_of<T> == kind::aggregate) {
      return search<T, Outer...>::template into<0, Way..., T>(inside_of<T>{});
    } else {
      return into<0, Way..., T>(inside_of<T>{});
    }
  }

  // Into the first of the types inside the last of `Way` that does not cross.
  template <std::size_t I, class... Way, class First, class... Rest>
  static consteval auto into(types<First, Rest...>) {
    using parent = typename last_of<Way...>::type;
    constexpr kind k = kind_of<parent>;
    constexpr bool numbered = k == kind::aggregate || k == kind::product || k == kind::map || k == kind::variant;
    if constexpr (crosses<First, Outer...>()) {
      return into<I + 1, Way...>(types<Rest...>{});
    } else if constexpr (numbered) {
      return from<First, Way..., member<I>>();
    } else {
      return from<First, Way..., element>();
    }
  }
};

template <class T>
consteval auto find_refused() {
  if constexpr (can_cross<T>) {
    return static_cast<accepted*>(nullptr);
  } else {
    return search<>::from<T>();
  }
}

/// `accepted`, or refused<T, member<2>, int*>: naming it makes no error, completing it does.
template <class T>
using judgement = std::remove_pointer_t<decltype(find_refused<T>())>;

template <class Judgement>
inline constexpr bool is_accepted = false;
template <>
inline constexpr bool is_accepted<accepted> = true;

/// Refuses to compile, in a readable sentence, if T cannot cross. `Where` is a type that says what T is to the caller,
/// such as argument<1>: its name stands in the compiler's output.
template <class T, class Where = void>
constexpr void require_transferable() {
  static_cast<void>(sizeof(judgement<T>));
}

}  // namespace tandem::detail
