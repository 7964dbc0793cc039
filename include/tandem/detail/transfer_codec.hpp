#pragma once
// One codec for each kind of type: how it is written, how it is read, and the fewest bytes that it can be.
#include <cfloat>

#include <tandem/detail/transfer_containers.hpp>

namespace tandem::detail {

// ---- plain values ----

template <>
struct codec<kind::memory> {
  template <class T>
  static constexpr std::size_t smallest_size = sizeof(T);
  template <class T>
  static void write(writer& w, const T& value) {
    wire::append(w, &value, sizeof value);
  }
  template <class T>
  static T read(reader& r) {
    return load<T>(wire::take(r, sizeof(T)));
  }
};

template <>
struct codec<kind::boolean> {
  template <class T>
  static constexpr std::size_t smallest_size = 1;
  template <class T>
  static void write(writer& w, const T& value) {
    const std::byte bit{static_cast<bool>(value)};
    wire::append(w, &bit, 1);
  }
  template <class T>
  static T read(reader& r) {
    const auto bit = std::to_integer<unsigned>(*wire::take(r, 1));
    if (bit > 1) wire::fail(r, "a bool that is neither true nor false");
    return static_cast<T>(bit == 1);
  }
};

template <>
struct codec<kind::long_double> {
  static constexpr std::size_t value_bytes = LDBL_MANT_DIG == 64 ? 10 : sizeof(long double);
  template <class T>
  static constexpr std::size_t smallest_size = value_bytes;
  template <class T>
  static void write(writer& w, const T& value) {
    wire::append(w, &value, value_bytes);
  }
  template <class T>
  static T read(reader& r) {
    T value = 0;
    std::memcpy(&value, wire::take(r, value_bytes), value_bytes);
    return value;
  }
};

template <>
struct codec<kind::bitset> {
  template <class T>
  static constexpr std::size_t smallest_size = (T{}.size() + 7) / 8;
  template <class T>
  static void write(writer& w, const T& bits) {
    for (std::size_t i = 0; i < bits.size(); i += 8) {
      unsigned byte = 0;
      for (std::size_t k = 0; k < 8 && i + k < bits.size(); ++k) byte |= static_cast<unsigned>(bits[i + k]) << k;
      const std::byte packed{static_cast<unsigned char>(byte)};
      wire::append(w, &packed, 1);
    }
  }
  template <class T>
  static T read(reader& r) {
    T bits;
    read_into(r, bits);
    return bits;
  }
  template <class T>
  static void read_into(reader& r, T& bits) {
    for (std::size_t i = 0; i < bits.size(); i += 8) {
      auto byte = std::to_integer<unsigned>(*wire::take(r, 1));
      for (std::size_t k = 0; k < 8 && i + k < bits.size(); ++k, byte >>= 1) {
        if ((byte & 1) != 0) bits[i + k] = true;
        if (i + k + 1 == bits.size() && byte > 1) wire::fail(r, "bits beyond the end of a bitset");
      }
    }
  }
};

template <>
struct codec<kind::bits> {
  template <class T>
  static constexpr std::size_t smallest_size = 8;
  template <class T>
  static void write(writer& w, const T& bits) {
    wire::append_count(w, bits.size());
    wire::charge(w, bits.size() / 8 + 8);
    codec<kind::bitset>::write(w, bits);
  }
  template <class T>
  static T read(reader& r) {
    const auto count = wire::take_number<std::uint64_t>(r);
    if (count / 8 + (count % 8 != 0) > wire::remaining(r)) wire::fail_count(r, count);
    wire::charge(r, static_cast<std::size_t>(count / 8 + 8));
    T bits(static_cast<std::size_t>(count));
    codec<kind::bitset>::read_into(r, bits);
    return bits;
  }
};

template <>
struct codec<kind::complex> {
  template <class T>
  static constexpr std::size_t smallest_size = 2 * smallest<typename T::value_type>();
  template <class T>
  static void write(writer& w, const T& value) {
    write_value(w, value.real());
    write_value(w, value.imag());
  }
  template <class T>
  static T read(reader& r) {
    const auto real = read_value<typename T::value_type>(r);
    return T(real, read_value<typename T::value_type>(r));
  }
};

template <>
struct codec<kind::duration> {
  template <class T>
  static constexpr std::size_t smallest_size = smallest<typename T::rep>();
  template <class T>
  static void write(writer& w, const T& value) {
    write_value(w, value.count());
  }
  template <class T>
  static T read(reader& r) {
    return T(read_value<typename T::rep>(r));
  }
};

template <>
struct codec<kind::time_point> {
  template <class T>
  static constexpr std::size_t smallest_size = smallest<typename T::duration>();
  template <class T>
  static void write(writer& w, const T& value) {
    write_value(w, value.time_since_epoch());
  }
  template <class T>
  static T read(reader& r) {
    return T(read_value<typename T::duration>(r));
  }
};

template <>
struct codec<kind::calendar> {
  template <class T>
  static auto rest(const T& date) {  // what stands beside the year: a month, or a day of one
    if constexpr (requires { date.weekday_indexed(); }) {
      return std::pair(date.month(), date.weekday_indexed());
    } else if constexpr (requires { date.weekday_last(); }) {
      return std::pair(date.month(), date.weekday_last());
    } else if constexpr (requires { date.month_day_last(); }) {
      return date.month_day_last();
    } else {
      return date.month();
    }
  }
  template <class T>
  using year_of = decltype(std::declval<const T&>().year());
  template <class T>
  using rest_of = decltype(rest(std::declval<const T&>()));

  template <class T>
  static constexpr std::size_t smallest_size = smallest<year_of<T>>() + smallest<rest_of<T>>();
  template <class T>
  static void write(writer& w, const T& date) {
    write_value(w, date.year());
    write_value(w, rest(date));
  }
  template <class T>
  static T read(reader& r) {
    const auto year = read_value<year_of<T>>(r);
    const auto beside = read_value<rest_of<T>>(r);
    if constexpr (requires { T(year, beside); }) {
      return T(year, beside);
    } else {
      return T(year, beside.first, beside.second);
    }
  }
};

// ---- values of fixed shape ----

template <>
struct codec<kind::array> {
  template <class T>
  using value = std::remove_const_t<typename T::value_type>;
  template <class T>
  static constexpr std::size_t smallest_size = std::tuple_size_v<T>* smallest<value<T>>();
  template <class T>
  static void write(writer& w, const T& values) {
    for (const auto& value : values) write_value(w, value);
  }
  template <class T>
  static T read(reader& r) {
    if constexpr (std::tuple_size_v<T> <= 16) {
      return read_each<T>(r, std::make_index_sequence<std::tuple_size_v<T>>{});
    } else if constexpr (std::is_default_constructible_v<T> && std::is_move_assignable_v<value<T>>) {
      T values;
      for (auto& value : values) value = read_value<codec::value<T>>(r);
      return values;
    } else {
      return read_each<T>(r, std::make_index_sequence<std::tuple_size_v<T>>{});
    }
  }
  template <class T, std::size_t... I>
  static T read_each(reader& r, std::index_sequence<I...>) {
    if constexpr (sizeof...(I) == 0) {
      static_cast<void>(r);
      return T{};
    } else {
      return T{{(static_cast<void>(I), read_value<value<T>>(r))...}};
    }
  }
};

template <>
struct codec<kind::product> {
  template <class... E>
  static consteval std::size_t sum(types<E...>) {
    return (smallest<E>() + ... + 0);
  }
  template <class T>
  static constexpr std::size_t smallest_size = sum(inside_of<T>{});
  template <class... E>
  static consteval std::size_t held_sum(types<E...>) {
    return held_bytes<E...>;
  }
  template <class T>
  static void write(writer& w, const T& values) {
    wire::charge(w, held_sum(inside_of<T>{}));
    [&]<std::size_t... I>(std::index_sequence<I...>) { (write_value(w, std::get<I>(values)), ...); }
    (std::make_index_sequence<std::tuple_size_v<T>>{});
  }
  template <class T>
  static T read(reader& r) {
    wire::charge(r, held_sum(inside_of<T>{}));
    return read_each<T>(r, inside_of<T>{});
  }
  template <class T, class... E>
  static T read_each([[maybe_unused]] reader& r, types<E...>) {
    return T{held<E>(r).take()...};  // braces: from left to right
  }
};

template <>
struct codec<kind::aggregate> {
  template <class T>
  static constexpr std::size_t smallest_size = codec<kind::product>::sum(inside_of<T>{});
  template <class T>
  static void write([[maybe_unused]] writer& w, const T& value) {
    [[maybe_unused]] const auto members = members_of(value);
    [&]<class... M, std::size_t... I>(types<M...>, std::index_sequence<I...>) {
      (write_value<M>(w, member_at<I>(members)), ...);
    }(inside_of<T>{}, std::make_index_sequence<count_initialisers<T>()>{});
  }
  template <class T>
  static T read(reader& r) {
    return read_each<T>(r, inside_of<T>{});
  }
  template <class T, class... M>
  static T read_each([[maybe_unused]] reader& r, types<M...>) {
    return T{read_value<M>(r)...};  // each straight into its place: members need not be movable
  }
};

template <>
struct codec<kind::optional> {
  template <class T>
  static constexpr std::size_t smallest_size = 1;
  template <class T>
  static void write(writer& w, const T& value) {
    using inner = std::remove_const_t<typename T::value_type>;
    write_value(w, value.has_value());
    if (!value.has_value()) return;
    wire::charge(w, held_bytes<inner>);
    write_value<inner>(w, *value);
  }
  template <class T>
  static T read(reader& r) {
    using inner = std::remove_const_t<typename T::value_type>;
    if (!read_value<bool>(r)) return T{};
    wire::charge(r, held_bytes<inner>);
    return T(std::in_place, held<inner>(r).take());
  }
};

template <>
struct codec<kind::variant> {
  template <class... A>
  static consteval std::size_t least(types<A...>) {
    std::size_t found = static_cast<std::size_t>(-1);
    ((found = smallest<A>() < found ? smallest<A>() : found), ...);
    return found;
  }
  template <class... A>
  static consteval std::size_t count(types<A...>) {
    return sizeof...(A);
  }
  template <class T>
  static constexpr std::size_t smallest_size = 2 + least(inside_of<T>{});

  template <class T>
  static void write(writer& w, const T& value) {
    if (value.valueless_by_exception()) wire::fail_valueless();
    const auto index = static_cast<std::uint16_t>(value.index());
    wire::append(w, &index, sizeof index);
    write_alternative(w, value, inside_of<T>{}, std::make_index_sequence<count(inside_of<T>{})>{});
  }
  template <class T, class... A, std::size_t... I>
  static void write_alternative(writer& w, const T& value, types<A...>, std::index_sequence<I...>) {
    // get, found where the variant is: its header is the user's to include.
    static_cast<void>(
        ((value.index() == I && (wire::charge(w, held_bytes<A>), write_value<A>(w, get<I>(value)), true)) || ...));
  }

  template <class T>
  static T read(reader& r) {
    return read_alternative<T>(r, inside_of<T>{}, std::make_index_sequence<count(inside_of<T>{})>{});
  }
  template <class T, class... A, std::size_t... I>
  static T read_alternative(reader& r, types<A...>, std::index_sequence<I...>) {
    using make = T (*)(reader&);
    static constexpr make makers[] = {&make_alternative<T, I, A>...};
    const auto index = wire::take_number<std::uint16_t>(r);
    if (index >= sizeof...(A)) wire::fail(r, "an alternative that the variant does not have");
    return makers[index](r);
  }
  template <class T, std::size_t I, class A>
  static T make_alternative(reader& r) {
    wire::charge(r, held_bytes<A>);
    return T(std::in_place_index<I>, held<A>(r).take());
  }
};

template <>
struct codec<kind::unique_ptr> {
  template <class T>
  static constexpr std::size_t smallest_size = 1;
  template <class T>
  static void write(writer& w, const T& pointer) {
    using inner = std::remove_const_t<typename T::element_type>;
    write_value(w, pointer != nullptr);
    if (pointer == nullptr) return;
    wire::charge(w, sizeof(inner));
    const wire::level deeper(w);
    write_value<inner>(w, *pointer);
  }
  template <class T>
  static T read(reader& r) {
    using inner = std::remove_const_t<typename T::element_type>;
    if (!read_value<bool>(r)) return T{};
    wire::charge(r, sizeof(inner));
    const wire::level deeper(r);
    return T(new inner(read_value<inner>(r)));
  }
};

template <>
struct codec<kind::hook> {
  template <class T>
  static constexpr std::size_t smallest_size = 0;
  template <class T>
  static void write(writer& w, const T& value) {
    const wire::level deeper(w);
    transfer<T>::write(w, value);
  }
  template <class T>
  static T read(reader& r) {
    const wire::level deeper(r);
    return transfer<T>::read(r);
  }
};

// ---- the way in ----

template <class T>
consteval std::size_t smallest() {
  if constexpr (is_flat<T>) {
    return sizeof(T);
  } else {
    return codec<kind_of<T>>::template smallest_size<T>;
  }
}

template <class T>
void write_value(writer& w, const T& value) {
  codec<is_flat<T> ? kind::memory : kind_of<T>>::template write<T>(w, value);
}

/// The next value, which need not have a default.
template <class T>
T read_value(reader& r) {
  return codec < is_flat<T> ? kind::memory : kind_of < T >> ::template read<T>(r);
}

}  // namespace tandem::detail
