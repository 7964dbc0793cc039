#pragma once
// What the codecs of all kinds need: the way to each other's, and values on their way from bytes into their place.
#include <bit>
#include <iterator>

#include <tandem/detail/transfer_kind.hpp>
#include <tandem/detail/transfer_wire.hpp>

namespace tandem::detail {

template <class T>
void write_value(writer& w, const T& value);
template <class T>
T read_value(reader& r);

/// The fewest bytes that a T can be; 0 for a hook, of which nothing is known.
template <class T>
consteval std::size_t smallest();

template <kind K>
struct codec;

inline constexpr std::size_t large_value = 512;

/// A value that was read and is on its way into a container. A large one waits on the heap, so that 500 levels of them
/// fit into a small stack.
template <class T>
class held {
 public:
  explicit held(reader& r) : value_(read_value<T>(r)) {}
  T&& take() noexcept { return static_cast<T&&>(value_); }

 private:
  T value_;
};
template <class T>
requires(sizeof(T) > large_value) class held<T> {
 public:
  explicit held(reader& r) : value_(new T(read_value<T>(r))) {}
  held(const held&) = delete;
  held& operator=(const held&) = delete;
  ~held() { delete value_; }
  T&& take() noexcept { return static_cast<T&&>(*value_); }

 private:
  T* value_;
};

/// What holding a T allocates.
template <class... T>
inline constexpr std::size_t held_bytes = ((sizeof(T) > large_value ? sizeof(T) : 0) + ... + 0);

/// The T whose bytes stand at `from`, at any alignment.
template <class T>
T load(const std::byte* from) noexcept {
  struct {
    std::byte bytes[sizeof(T)];
  } raw;
  std::memcpy(raw.bytes, from, sizeof(T));
  return std::bit_cast<T>(raw);
}

/// Iterates over flat values among bytes: a vector made from a pair of these allocates once and sets nothing to zero.
template <class T>
struct loading_iterator {
  using iterator_category = std::random_access_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = const T*;
  using reference = T;
  const std::byte* at = nullptr;

  T operator*() const noexcept { return load<T>(at); }
  loading_iterator& operator++() noexcept { return *this += 1; }
  loading_iterator& operator--() noexcept { return *this += -1; }
  loading_iterator& operator+=(difference_type n) noexcept {
    at += n * static_cast<difference_type>(sizeof(T));
    return *this;
  }
  difference_type operator-(const loading_iterator& other) const noexcept {
    return (at - other.at) / static_cast<difference_type>(sizeof(T));
  }
  bool operator==(const loading_iterator& other) const noexcept { return at == other.at; }
  bool operator!=(const loading_iterator& other) const noexcept { return at != other.at; }
};

/// A vector or string of `count` flat values.
template <class C>
C load_all(reader& r, std::size_t count) {
  using value = typename C::value_type;
  const std::byte* bytes = wire::take(r, count * sizeof(value));
  const auto load = [&](auto begin, auto end) {
    if (count * sizeof(value) < wire::large_block) return C(begin, end);
    C values;
    values.reserve(count);
    wire::will_fill(values.data(), count * sizeof(value));
    values.assign(begin, end);
    return values;
  };
  if constexpr (sizeof(value) == 1 && (std::is_integral_v<value> || std::is_same_v<value, std::byte>)) {
    const auto* values = reinterpret_cast<const value*>(bytes);  // SAFETY: bytes themselves, under another name
    return load(values, values + count);
  } else {
    return load(loading_iterator<value>{bytes}, loading_iterator<value>{bytes + count * sizeof(value)});
  }
}

}  // namespace tandem::detail
