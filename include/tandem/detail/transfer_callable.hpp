#pragma once
// What is called in the other process: functions by name (build-id and offset), objects by value, empty ones not at
// all.
#include <bit>
#include <string>
#include <type_traits>

#include <tandem/transfer.hpp>

namespace tandem::detail {

/// Names the code at `address`: the build-id of the program or library that it lies in, the offset, and the library's
/// path.
/// Errors: tandem::error, with what to do, if it is no code of a module with a build-id. Cost: 0.1 µs or less.
TANDEM_EXPORT void write_code(writer& w, const void* address);
/// The address of the code that write_code named, in whatever process. A library that is not loaded is loaded from the
/// path that was recorded, if its file has that build-id.
/// Errors: tandem::error if there is no such module; decode_error for bytes that are no name.
TANDEM_EXPORT const void* read_code(reader& r);

/// A pointer to a member function in the Itanium C++ ABI: an address or a place in the virtual table, and what is added
/// to `this`.
struct member_function_words {
  std::uintptr_t pointer = 0;
  std::ptrdiff_t adjustment = 0;
};
TANDEM_EXPORT void write_member_function(writer& w, member_function_words words);
TANDEM_EXPORT member_function_words read_member_function(reader& r);

[[noreturn]] TANDEM_EXPORT void fail_null_callable();
[[noreturn]] TANDEM_EXPORT void fail_null_text();

enum class callable_kind { refused, function, member_function, member_object, empty, value };

template <class F>
consteval callable_kind judge_callable() {
  if constexpr (std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>) {
    return callable_kind::function;
  } else if constexpr (std::is_member_function_pointer_v<F>) {
    return callable_kind::member_function;
  } else if constexpr (std::is_member_object_pointer_v<F>) {
    return callable_kind::member_object;
  } else if constexpr (has_hook<F>) {
    return can_cross<F> ? callable_kind::value : callable_kind::refused;
  } else if constexpr (std::is_empty_v<F> && (std::is_default_constructible_v<F> || std::is_trivially_copyable_v<F>)) {
    return callable_kind::empty;
  } else {
    return can_cross<F> ? callable_kind::value : callable_kind::refused;
  }
}

/// True if an F may be what is called in another process: a function, a pointer to member, a lambda without captures, a
/// function object that is empty or transferable.
template <class F>
concept transferable_callable = judge_callable<F>()
!= callable_kind::refused;

/// Refuses to compile, in a readable sentence, if F may not be what is called there.
template <class F, class Where = void>
constexpr void require_callable() {
  if constexpr (!transferable_callable<F>) static_cast<void>(sizeof(judgement<F>));
}

template <class F>
void write_callable(writer& w, const F& callable) {
  constexpr callable_kind k = judge_callable<F>();
  require_callable<F>();
  if constexpr (k == callable_kind::function) {
    if (callable == nullptr) fail_null_callable();
    write_code(w, reinterpret_cast<const void*>(callable));
  } else if constexpr (k == callable_kind::member_function) {
    if (callable == nullptr) fail_null_callable();
    static_assert(sizeof(F) == sizeof(member_function_words));
    write_member_function(w, std::bit_cast<member_function_words>(callable));
  } else if constexpr (k == callable_kind::member_object) {
    if (callable == nullptr) fail_null_callable();
    write_value(w, std::bit_cast<std::ptrdiff_t>(callable));
  } else if constexpr (k == callable_kind::value) {
    write_value<F>(w, callable);
  }
}

template <class Member, class Class>
consteval std::size_t class_size(Member Class::*) {
  return sizeof(Class);
}

template <class F>
F read_callable([[maybe_unused]] reader& r) {
  constexpr callable_kind k = judge_callable<F>();
  require_callable<F>();
  if constexpr (k == callable_kind::function) {
    return reinterpret_cast<F>(reinterpret_cast<std::uintptr_t>(read_code(r)));
  } else if constexpr (k == callable_kind::member_function) {
    return std::bit_cast<F>(read_member_function(r));
  } else if constexpr (k == callable_kind::member_object) {
    const auto offset = read_value<std::ptrdiff_t>(r);
    if (offset < 0 || static_cast<std::size_t>(offset) >= class_size(F{})) wire::fail(r, "a member outside its class");
    return std::bit_cast<F>(offset);
  } else if constexpr (k == callable_kind::value) {
    return read_value<F>(r);
  } else if constexpr (std::is_default_constructible_v<F>) {
    return F();
  } else {
    return std::bit_cast<F>(std::byte{0});  // a lambda with a capture-default that captured nothing
  }
}

/// What an argument travels as: itself, decayed; text that is pointed to travels as a std::string.
template <class T>
struct carried {
  using type = T;
};
template <>
struct carried<const char*> {
  using type = std::string;
};
template <>
struct carried<char*> {
  using type = std::string;
};
template <class T>
using carried_t = typename carried<std::decay_t<T>>::type;

/// Writes an argument as the carried_t<T> that the other side reads.
/// Errors: as writer::operator(); std::invalid_argument for a null `const char*`.
template <class T>
void write_argument(writer& w, const T& argument) {
  if constexpr (std::is_same_v<carried_t<T>, std::string> && !std::is_same_v<std::decay_t<T>, std::string>) {
    const char* text = argument;
    if (text == nullptr) fail_null_text();
    write_value(w, std::string(text));
  } else {
    write_value<carried_t<T>>(w, argument);
  }
}

}  // namespace tandem::detail
