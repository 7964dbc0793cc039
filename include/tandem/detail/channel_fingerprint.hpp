#pragma once
// A number for the shape of a type: two programs that exchange messages compare theirs. Made of the kinds and sizes of
// what is inside, and the names of classes without their namespaces, which compilers spell differently.
#include <cstdint>

#include <tandem/transfer.hpp>

namespace tandem::detail {

class shape_hash {
 public:
  constexpr void add(std::uint64_t value) {
    for (int i = 0; i < 8; ++i, value >>= 8) {
      state_ ^= value & 0xff;
      state_ *= 1099511628211U;  // FNV-1a
    }
  }
  constexpr void add(std::string_view text) {
    for (const char c : text) add(static_cast<std::uint64_t>(static_cast<unsigned char>(c)));
    add(text.size());
  }
  constexpr std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 14695981039346656037U;
};

/// The last part of a type's name, without template arguments.
template <class T>
consteval std::string_view bare_name() {
  std::string_view text = type_name<T>();
  if (const auto arguments = text.find('<'); arguments != std::string_view::npos && arguments != 0)
    text = text.substr(0, arguments);
  if (const auto scope = text.rfind(':'); scope != std::string_view::npos) text.remove_prefix(scope + 1);
  return text;
}

// `Outer`: the aggregates being walked, so that one that contains itself ends.
template <class T, class... Outer>
constexpr void add_shape(shape_hash& h);

template <class... Outer, class... Inside>
constexpr void add_shapes(shape_hash& h, types<Inside...>) {
  h.add(sizeof...(Inside));
  (add_shape<Inside, Outer...>(h), ...);
}

template <class T, class... Outer>
constexpr void add_shape(shape_hash& h) {
  constexpr kind k = kind_of<T>;
  h.add(static_cast<std::uint64_t>(k));
  if constexpr (k == kind::memory || k == kind::boolean || k == kind::bitset) {
    h.add(sizeof(T));
    if constexpr (std::is_arithmetic_v<T>) {
      h.add((std::is_floating_point_v<T> ? 2U : 0U) + (std::is_signed_v<T> ? 1U : 0U));
    } else {
      h.add(bare_name<T>());
    }
  } else if constexpr (k == kind::hook) {
    h.add(bare_name<T>());
  } else if constexpr (k == kind::aggregate) {
    h.add(bare_name<T>());
    if constexpr (!(std::is_same_v<T, Outer> || ...)) add_shapes<T, Outer...>(h, inside_of<T>{});
  } else {
    if constexpr (k == kind::array) h.add(std::tuple_size_v<T>);
    if constexpr (k == kind::duration) {
      h.add(static_cast<std::uint64_t>(T::period::num));
      h.add(static_cast<std::uint64_t>(T::period::den));
    }
    add_shapes<Outer...>(h, inside_of<T>{});
  }
}

template <class T>
constexpr std::uint64_t fingerprint() {
  constexpr std::uint64_t value = [] {
    shape_hash h;
    add_shape<T>(h);
    return h.value();
  }();
  return value;
}

}  // namespace tandem::detail
