#pragma once
// Which values may cross to another process, and how they become bytes and come back.
//
// Numbers, enums, strings, the standard containers, pair, tuple, array, optional, variant, bitset, complex, chrono,
// filesystem::path, unique_ptr, and plain aggregates of those cross with no line of code. Any other type crosses
// through a hook:
//
//   template <>
//   struct tandem::transfer<account> {
//     static void write(tandem::writer& w, const account& a) { w(a.owner()); w(a.balance()); }
//     static account read(tandem::reader& r) {
//       std::string owner;
//       r(owner);
//       long balance = 0;
//       r(balance);
//       return account(std::move(owner), balance);
//     }
//   };
//
// Bytes are in the order of this machine, for programs of the same build. Decoding trusts nothing: bytes that are no
// such value give decode_error, and what decoding allocates stays below 1 MiB + 1024 times the bytes given.
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/detail/export.hpp>
#include <tandem/detail/transfer_refusal.hpp>
#include <tandem/error.hpp>
#include <tandem/file_descriptor.hpp>

namespace tandem {

/// A user's hook: `static void write(writer&, const T&)` and `static T read(reader&)`, which reads with the same types
/// what was written. Specialise it for a type that is no plain aggregate, or to send an aggregate otherwise; it goes
/// before all other rules. T may lack a default constructor; it must be movable.
template <class T>
struct transfer;

/// True if a T may cross to another process: it and all that is inside it.
template <class T>
concept transferable = std::same_as<detail::judgement<std::remove_const_t<T>>, detail::accepted>;

/// True if a T may hold handles (a file_descriptor, a stop_source), at any depth: these are no bytes, and go with the
/// arguments and results of processes only. A hook that writes handles has a member that says so:
/// `static constexpr bool carries_handles = true;`.
template <class T>
inline constexpr bool carries_handles = detail::holds_handles<T>();

/// Gathers the bytes of values; a hook is given one.
class writer {
 public:
  /// An empty one.
  writer() noexcept {}
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  /// Appends a value.
  /// Blocks: never. Threads: one at a time. Errors: std::length_error if the value is nested more than 500 containers,
  /// pointers or hooks deep; std::invalid_argument for a valueless variant; std::bad_alloc; what a hook throws. What
  /// had been appended before stays. Cost: a copy; flat types and vectors of them are copied as one block; no
  /// allocation while the whole is small (some hundred bytes).
  template <transferable T>
  void operator()(const T& value);
  /// Not a type that may cross: the compiler says why.
  template <class T>
  requires(!transferable<T>) void operator()(const T&) { detail::require_transferable<T>(); }

 private:
  friend struct detail::wire;
  std::vector<std::byte> bytes_;          // what no longer fits into stage_
  detail::block_store* store_ = nullptr;  // where a large value goes instead
  std::span<std::byte> outside_;          // what it gave
  std::size_t outside_size_ = 0;          // so much of it is used
  std::vector<file_descriptor> handles_;
  std::size_t charge_ = 0;  // what decoding will allocate, by the same sums as there
  unsigned depth_ = 0;
  unsigned staged_ = 0;
  std::byte stage_[240];
};

/// Gives values back, in the order in which they were written; a hook is given one.
class reader {
 public:
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  /// Reads the next value into `value`, which must be assignable.
  /// Blocks: never. Threads: one at a time. Errors: decode_error if the bytes are no such value, and `value` is as
  /// before; std::bad_alloc; what a hook throws. Cost: a copy, and what the value allocates.
  template <transferable T>
  void operator()(T& value);
  /// Not a type that may cross: the compiler says why.
  template <class T>
  requires(!transferable<T>) void operator()(T&) { detail::require_transferable<T>(); }

  /// The number of bytes not yet read.
  std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - at_); }

 private:
  friend struct detail::wire;
  reader(std::span<const std::byte> bytes, std::span<file_descriptor> handles) noexcept;
  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  std::span<file_descriptor> handles_;  // those not yet read
  std::size_t budget_;                  // what may be allocated in all
  std::size_t charge_ = 0;              // what has been
  unsigned depth_ = 0;
};

/// The bytes of a value.
/// Blocks: never. Threads: any. Errors: as writer::operator(). Cost: a copy; one allocation for each doubling.
template <transferable T>
std::vector<std::byte> encode(const T& value);
/// Not a type that may cross: the compiler says why.
template <class T>
requires(!transferable<T>) std::vector<std::byte> encode(const T&) {
  detail::require_transferable<T>();
  return {};
}

/// The value whose bytes these are, all of them; `T` is named by the caller.
/// Blocks: never. Threads: any. Errors: decode_error for any other bytes, whoever made them, with nothing left behind;
/// std::bad_alloc; what a hook throws. Cost: a copy; allocates less than 1 MiB + 1024 times the bytes. Sets and maps
/// are built element by element; colliding hashes cost what they cost in an unordered container anywhere.
template <transferable T>
T decode(std::span<const std::byte> bytes);
/// Not a type that may cross: the compiler says why.
template <class T>
requires(!transferable<T>) T decode(std::span<const std::byte>) {
  detail::require_transferable<T>();
  std::terminate();
}

/// A function object carried as memory. Made by unchecked_capture().
template <class F>
class unchecked_capture_t {
 public:
  F f;
  /// Calls what it carries.
  /// Errors: what that throws.
  template <class... A>
  requires std::invocable<const F&, A...>
  decltype(auto) operator()(A&&... a) const { return f(std::forward<A>(a)...); }
};

/// Lets a trivially copyable lambda with captures cross as its bytes.
/// Blocks: never. Errors: none. Cost: a copy. The caller vouches that it holds no pointer and no reference: nothing
/// checks that.
template <class F>
unchecked_capture_t<F> unchecked_capture(F f) {
  static_assert(std::is_trivially_copyable_v<F>,
                "tandem: unchecked_capture carries memory: what is captured must be trivially copyable; pass the rest "
                "as arguments");
  return {std::move(f)};
}

}  // namespace tandem

#include <tandem/detail/transfer_definitions.hpp>
#include <tandem/detail/transfer_exception.hpp>
