#pragma once
// The definitions of what <tandem/transfer.hpp> declares, and the hooks of tandem's own types.
#include <tandem/detail/transfer_codec.hpp>
#include <tandem/transfer.hpp>

namespace tandem {

// <tandem/shared.hpp> is for those to include who use it.
template <class T>
class shared;
template <class T>
class shared_array;
class shared_memory;
namespace detail {
template <class Handle>
struct memory_access;
template <class T>
inline constexpr bool is_memory_handle = false;
template <class T>
inline constexpr bool is_memory_handle<shared<T>> = true;
template <class T>
inline constexpr bool is_memory_handle<shared_array<T>> = true;
template <>
inline constexpr bool is_memory_handle<shared_memory> = true;
}  // namespace detail

inline reader::reader(std::span<const std::byte> bytes, std::span<file_descriptor> handles) noexcept
    : begin_(bytes.data()),
      at_(bytes.data()),
      end_(bytes.data() + bytes.size()),
      handles_(handles),
      budget_(bytes.size() > (static_cast<std::size_t>(-1) - detail::free_budget) / detail::budget_per_byte
                  ? static_cast<std::size_t>(-1)
                  : detail::free_budget + detail::budget_per_byte * bytes.size()) {}

inline reader detail::wire::make(std::span<const std::byte> bytes, std::span<file_descriptor> handles) noexcept {
  return reader(bytes, handles);
}
inline reader detail::make_reader(std::span<const std::byte> bytes, std::span<file_descriptor> handles) noexcept {
  return wire::make(bytes, handles);
}

inline std::vector<file_descriptor> detail::wire::taken_handles(writer&& w) noexcept { return std::move(w.handles_); }
inline detail::message detail::take_message(writer&& w) {
  message m;
  m.handles = wire::taken_handles(static_cast<writer&&>(w));
  m.bytes = take_bytes(static_cast<writer&&>(w));
  return m;
}

template <transferable T>
void writer::operator()(const T& value) {
  detail::write_value<T>(*this, value);
}

template <transferable T>
void reader::operator()(T& value) {
  static_assert(std::is_move_assignable_v<T>, "tandem: reader reads into a variable that can be assigned");
  value = detail::read_value<T>(*this);
}

template <transferable T>
std::vector<std::byte> encode(const T& value) {
  static_assert(
      !carries_handles<T>,
      "tandem: encode() gives bytes, and a descriptor is none: pass it as an argument of a process, or return "
      "it from one");
  writer w;
  w(value);
  return detail::take_bytes(static_cast<writer&&>(w));
}

template <transferable T>
T decode(std::span<const std::byte> bytes) {
  static_assert(
      !carries_handles<T>,
      "tandem: decode() reads bytes, and a descriptor is none: pass it as an argument of a process, or return "
      "it from one");
  reader r = detail::make_reader(bytes);
  T value = detail::read_value<T>(r);
  detail::finish(r);
  return value;
}

/// A function object that the caller vouches for.
template <class F>
struct transfer<unchecked_capture_t<F>> {
  static void write(writer& w, const unchecked_capture_t<F>& callable) {
    detail::wire::append(w, &callable, sizeof callable);
  }
  static unchecked_capture_t<F> read(reader& r) {
    return detail::load<unchecked_capture_t<F>>(detail::wire::take(r, sizeof(unchecked_capture_t<F>)));
  }
};

/// One that owns none arrives as such.
template <>
struct transfer<file_descriptor> {
  static constexpr bool carries_handles = true;
  static void write(writer& w, const file_descriptor& fd) {
    w(static_cast<bool>(fd));
    if (fd) detail::wire::attach(w, fd);
  }
  static file_descriptor read(reader& r) {
    return detail::read_value<bool>(r) ? detail::wire::detach(r) : file_descriptor();
  }
};

/// By its descriptor: what is in the memory stays where it is. A moved-from handle arrives as such.
template <class Handle>
requires detail::is_memory_handle<Handle>
struct transfer<Handle> {
  static constexpr bool carries_handles = true;
  static void write(writer& w, const Handle& handle) {
    auto parcel = detail::memory_access<Handle>::parcel(handle);
    w(static_cast<bool>(parcel.descriptor));
    w(parcel.writable);
    w(parcel.count);
    w(parcel.is_named);
    if (parcel.descriptor) detail::wire::attach(w, std::move(parcel.descriptor));
  }
  static Handle read(reader& r) {
    decltype(detail::memory_access<Handle>::parcel(std::declval<const Handle&>())) parcel;
    const bool whole = detail::read_value<bool>(r);
    parcel.writable = detail::read_value<bool>(r);
    parcel.count = detail::read_value<std::uint64_t>(r);
    parcel.is_named = detail::read_value<bool>(r);
    if (whole) parcel.descriptor = detail::wire::detach(r);
    return detail::memory_access<Handle>::receive(std::move(parcel));
  }
};

/// An ending keeps its members to itself.
template <>
struct transfer<exit_status> {
  static void write(writer& w, const exit_status& s) {
    const int value = s.kind() == ending::signalled ? s.signal() : s.code();
    w(s.kind());
    w(value);
    w(s.why());
  }
  static exit_status read(reader& r) {
    const auto kind = detail::read_value<ending>(r);
    const int value = detail::read_value<int>(r);
    return exit_status::make(kind, value, detail::read_value<cause>(r));
  }
};

}  // namespace tandem
