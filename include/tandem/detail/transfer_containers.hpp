#pragma once
// The codecs of containers: how each is written, how it is read, and what it will allocate. That is rounded up, over what
// libstdc++ and libc++ do: nodes have at most five words of their own.
#include <tandem/detail/transfer_load.hpp>

namespace tandem::detail {

inline constexpr std::size_t node_bytes = 64;

template <class T>
void write_each(writer& w, const T& values, std::size_t count, allocation cost) {
  wire::begin(w, count, cost);
  const wire::level deeper(w);
  for (const auto& value : values) write_value(w, value);
}

template <>
struct codec<kind::text> {
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static constexpr allocation cost{sizeof(typename T::value_type), sizeof(typename T::value_type)};
  template <class T>
  static void write(writer& w, const T& text) {
    wire::begin(w, text.size(), cost<T>);
    wire::append(w, text.data(), text.size() * sizeof(typename T::value_type));
  }
  template <class T>
  static T read(reader& r) {
    return load_all<T>(r, wire::expect(r, sizeof(typename T::value_type), cost<T>));
  }
};

template <>
struct codec<kind::path> {
  // A path keeps its components too, each of at least two characters.
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static constexpr allocation cost{128, 256};
  template <class T>
  static void write(writer& w, const T& path) {
    const auto& text = path.native();
    wire::begin(w, text.size(), cost<T>);
    wire::append(w, text.data(), text.size() * sizeof(typename T::value_type));
  }
  template <class T>
  static T read(reader& r) {
    return T(load_all<typename T::string_type>(r, wire::expect(r, sizeof(typename T::value_type), cost<T>)));
  }
};

template <>
struct codec<kind::vector> {
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static constexpr allocation cost{sizeof(typename T::value_type),
                                   is_flat<typename T::value_type> ? 0 : held_bytes<typename T::value_type>};
  template <class T>
  static void write(writer& w, const T& values) {
    if constexpr (is_flat<typename T::value_type>) {
      wire::begin(w, values.size(), cost<T>);
      wire::append(w, values.data(), values.size() * sizeof(typename T::value_type));
    } else {
      write_each(w, values, values.size(), cost<T>);
    }
  }
  template <class T>
  static T read(reader& r) {
    using value = typename T::value_type;
    const std::size_t count = wire::expect(r, smallest<value>(), cost<T>);
    if constexpr (is_flat<value>) {
      return load_all<T>(r, count);
    } else {
      const wire::level deeper(r);
      T values;
      values.reserve(count);
      for (std::size_t i = 0; i < count; ++i) values.push_back(held<value>(r).take());
      return values;
    }
  }
};

template <>
struct codec<kind::sequence> {
  // A deque has an index of blocks, which doubles, and even an empty one has a block.
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static constexpr allocation cost{sizeof(typename T::value_type) + node_bytes,
                                   1024 + held_bytes<typename T::value_type>};
  template <class T>
  static void write(writer& w, const T& values) {
    write_each(w, values, values.size(), cost<T>);
  }
  template <class T>
  static T read(reader& r) {
    using value = typename T::value_type;
    const std::size_t count = wire::expect(r, smallest<value>(), cost<T>);
    const wire::level deeper(r);
    T values;
    for (std::size_t i = 0; i < count; ++i) values.push_back(held<value>(r).take());
    return values;
  }
};

template <>
struct codec<kind::forward_list> {
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static constexpr allocation cost{sizeof(typename T::value_type) + node_bytes, held_bytes<typename T::value_type>};
  template <class T>
  static void write(writer& w, const T& values) {
    std::size_t count = 0;
    for (auto at = values.begin(); at != values.end(); ++at) ++count;
    write_each(w, values, count, cost<T>);
  }
  template <class T>
  static T read(reader& r) {
    using value = typename T::value_type;
    const std::size_t count = wire::expect(r, smallest<value>(), cost<T>);
    const wire::level deeper(r);
    T values;
    auto last = values.before_begin();
    for (std::size_t i = 0; i < count; ++i) last = values.insert_after(last, held<value>(r).take());
    return values;
  }
};

/// Sets and maps. With unordered ones, the buckets are made at once; with unique keys, a second one like it is an
/// error.
template <class T, class ReadOne>
T read_associative(reader& r, std::size_t count, ReadOne read_one) {
  const wire::level deeper(r);
  T values;
  if constexpr (requires { values.bucket_count(); }) values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    read_one(values);
    if (values.size() != i + 1) wire::fail(r, "a key that is there already");
  }
  return values;
}

template <>
struct codec<kind::set> {
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static constexpr allocation cost{sizeof(typename T::value_type) + node_bytes,
                                   256 + held_bytes<typename T::value_type>};
  template <class T>
  static void write(writer& w, const T& values) {
    write_each(w, values, values.size(), cost<T>);
  }
  template <class T>
  static T read(reader& r) {
    using value = typename T::value_type;
    const std::size_t count = wire::expect(r, smallest<value>(), cost<T>);
    return read_associative<T>(r, count, [&](T& set) { set.insert(set.end(), held<value>(r).take()); });
  }
};

template <>
struct codec<kind::map> {
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static constexpr allocation cost{sizeof(typename T::value_type) + node_bytes,
                                   256 + held_bytes<typename T::key_type, typename T::mapped_type>};
  template <class T>
  static void write(writer& w, const T& values) {
    wire::begin(w, values.size(), cost<T>);
    const wire::level deeper(w);
    for (const auto& [key, value] : values) {
      write_value(w, key);
      write_value(w, value);
    }
  }
  template <class T>
  static T read(reader& r) {
    using key = typename T::key_type;
    using mapped = typename T::mapped_type;
    const std::size_t count = wire::expect(r, smallest<key>() + smallest<mapped>(), cost<T>);
    return read_associative<T>(r, count, [&](T& map) {
      held<key> k(r);
      held<mapped> v(r);
      map.emplace_hint(map.end(), k.take(), v.take());
    });
  }
};

}  // namespace tandem::detail
