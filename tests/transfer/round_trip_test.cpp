#include <gtest/gtest.h>

#include <memory_resource>

#include <tandem/detail/transfer_callable.hpp>
#include "samples.hpp"

namespace {

using namespace samples;
using tandem::decode;
using tandem::encode;

template <class T>
bool same(const T& a, const T& b) {
  if (encode(a) == encode(b)) return true;
  if constexpr (requires { a == b; }) return a == b;  // an unordered container in another order
  return false;
}

TEST(round_trip, every_kind) {
  for_each_sample([]<class T>(const T& value) {
    static_assert(tandem::transferable<T>);
    const auto bytes = encode(value);
    EXPECT_TRUE(same(decode<T>(bytes), value)) << tandem::detail::type_name<T>();
    EXPECT_GE(bytes.size(), tandem::detail::smallest<T>()) << tandem::detail::type_name<T>();
  });
}

TEST(round_trip, at_every_alignment) {
  for_each_sample([]<class T>(const T& value) {
    for (int before = 1; before < 8; ++before) {
      tandem::writer w;
      for (int i = 0; i < before; ++i) w('.');
      w(value);
      w(std::string("after"));
      const auto bytes = tandem::detail::take_bytes(std::move(w));
      auto r = tandem::detail::make_reader(bytes);
      for (int i = 0; i < before; ++i) EXPECT_EQ(tandem::detail::read_value<char>(r), '.');
      EXPECT_TRUE(same(tandem::detail::read_value<T>(r), value)) << tandem::detail::type_name<T>();
      EXPECT_EQ(tandem::detail::read_value<std::string>(r), "after");
      tandem::detail::finish(r);
    }
  });
}

TEST(round_trip, keeps_the_order_of_equal_keys) {
  const std::multimap<int, int> m{{1, 3}, {1, 1}, {1, 2}};
  const auto back = decode<std::multimap<int, int>>(encode(m));
  EXPECT_TRUE(std::equal(m.begin(), m.end(), back.begin(), back.end()));
}

TEST(round_trip, numbers_of_every_pattern) {
  const auto nan = decode<double>(encode(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_NE(nan, nan);
  EXPECT_EQ(decode<float>(encode(-0.0F)), -0.0F);
  EXPECT_EQ(decode<long double>(encode(std::numeric_limits<long double>::max())),
            std::numeric_limits<long double>::max());
  // The padding of a long double does not cross.
  EXPECT_EQ(encode(1.0L).size(), LDBL_MANT_DIG == 64 ? 10U : sizeof(long double));
}

TEST(round_trip, polymorphic_allocators) {
  const std::pmr::vector<std::pmr::string> v{"a", "b"};
  EXPECT_EQ(decode<std::pmr::vector<std::pmr::string>>(encode(v)), v);
}

TEST(round_trip, reads_into_variables) {
  tandem::writer w;
  w(1);
  w(std::string("two"));
  const auto bytes = tandem::detail::take_bytes(std::move(w));
  auto r = tandem::detail::make_reader(bytes);
  EXPECT_EQ(r.remaining(), bytes.size());
  int one = 0;
  std::string two;
  r(one);
  r(two);
  EXPECT_EQ(one, 1);
  EXPECT_EQ(two, "two");
  EXPECT_EQ(r.remaining(), 0U);
}

TEST(round_trip, an_empty_message) {
  tandem::writer w;
  EXPECT_TRUE(tandem::detail::finished_bytes(w).empty());
  EXPECT_TRUE(tandem::detail::take_bytes(std::move(w)).empty());
  auto r = tandem::detail::make_reader({});
  tandem::detail::finish(r);
}

TEST(round_trip, small_and_large_messages_alike) {
  for (std::size_t size = 0; size < 1200; ++size) {
    tandem::writer w;
    const std::string text(size, 'x');
    w(text);
    w(7);
    const std::vector<std::byte> seen(tandem::detail::finished_bytes(w).begin(),
                                      tandem::detail::finished_bytes(w).end());
    const auto taken = tandem::detail::take_bytes(std::move(w));
    EXPECT_EQ(seen, taken);
    EXPECT_EQ((decode<std::pair<std::string, int>>(taken)), std::pair(text, 7));
  }
}

TEST(round_trip, captures_that_the_caller_vouches_for) {
  const auto f = tandem::unchecked_capture([n = 5](int x) { return x + n; });
  static_assert(tandem::detail::transferable_callable<std::remove_const_t<decltype(f)>>);
  EXPECT_EQ(decode<std::remove_const_t<decltype(f)>>(encode(f))(3), 8);
}

// ---- how it is written ----

TEST(format, flat_types_are_their_memory) {
  static_assert(tandem::detail::is_flat<point>);
  static_assert(tandem::detail::is_flat<std::array<point, 4>>);
  static_assert(tandem::detail::is_flat<std::chrono::nanoseconds>);
  static_assert(!tandem::detail::is_flat<padded>, "has padding");
  static_assert(!tandem::detail::is_flat<flags>, "has bools");
  static_assert(!tandem::detail::is_flat<hooked>, "has a hook");
  static_assert(!tandem::detail::is_flat<nothing>);
  static_assert(!tandem::detail::is_flat<long double>);
  EXPECT_EQ(encode(point{1, 2}).size(), 8U);
  EXPECT_EQ(encode(padded{'c', 1}).size(), 9U);
  EXPECT_EQ(encode(std::vector<point>(3)).size(), 8U + 24U);
}

TEST(format, hooks_go_before_all_other_rules) { EXPECT_EQ(encode(hooked{12}), encode(std::string("12"))); }

TEST(format, text_that_is_pointed_to_travels_as_a_string) {
  static_assert(std::is_same_v<tandem::detail::carried_t<const char(&)[3]>, std::string>);
  static_assert(std::is_same_v<tandem::detail::carried_t<char*>, std::string>);
  static_assert(std::is_same_v<tandem::detail::carried_t<const int&>, int>);
  tandem::writer w;
  const char* text = "abc";
  tandem::detail::write_argument(w, text);
  tandem::detail::write_argument(w, "def");
  tandem::detail::write_argument(w, std::string("ghi"));
  EXPECT_EQ(decode<std::vector<std::string>>([&] {
              tandem::writer all;
              all(std::uint64_t{3});
              all(std::string("abc"));
              all(std::string("def"));
              all(std::string("ghi"));
              return tandem::detail::take_bytes(std::move(all));
            }()),
            (std::vector<std::string>{"abc", "def", "ghi"}));
  EXPECT_EQ(tandem::detail::take_bytes(std::move(w)).size(), 3 * (8U + 3U));
  tandem::writer other;
  EXPECT_THROW(tandem::detail::write_argument(other, static_cast<const char*>(nullptr)), std::invalid_argument);
}

// ---- what cannot be encoded ----

struct throws_when_copied {
  throws_when_copied() = default;
  throws_when_copied(const throws_when_copied&) { throw 1; }
  throws_when_copied& operator=(const throws_when_copied&) = default;
};
}  // namespace

template <>
struct tandem::transfer<throws_when_copied> {
  static void write(writer&, const throws_when_copied&) {}
  static throws_when_copied read(reader&) { return {}; }
};

namespace {

TEST(encode, refuses_a_variant_without_a_value) {
  std::variant<int, throws_when_copied> v = 1;
  const throws_when_copied bad;
  EXPECT_THROW(v.emplace<1>(bad), int);
  ASSERT_TRUE(v.valueless_by_exception());
  EXPECT_THROW(encode(v), std::invalid_argument);
}

TEST(encode, bounds_the_depth) {
  EXPECT_TRUE(same(*make_chain(500), decode<chain>(encode(*make_chain(500)))));
  EXPECT_THROW(encode(*make_chain(502)), std::length_error);
  EXPECT_NO_THROW(encode(std::vector<tree>(600)));  // wide is not deep
  tree t;
  for (int i = 0; i < 499; ++i) {
    std::vector<tree> kids;
    kids.push_back(std::move(t));
    t = tree{i, std::move(kids)};
  }
  EXPECT_TRUE(same(decode<tree>(encode(t)), t));
}

// ---- the compile-time answers
// ------------------------------------------------------------------------------------------

struct has_pointer {
  int a;
  std::vector<std::map<int, int*>> b;
};
struct recursive_with_pointer {
  std::vector<recursive_with_pointer> kids;
  void* p;
};
using tandem::detail::element;
using tandem::detail::judgement;
using tandem::detail::member;
using tandem::detail::refused;

static_assert(std::is_same_v<judgement<has_pointer>, refused<has_pointer, member<1>, std::vector<std::map<int, int*>>,
                                                             element, std::map<int, int*>, member<1>, int*>>);
static_assert(std::is_same_v<judgement<recursive_with_pointer>, refused<recursive_with_pointer, member<1>, void*>>);
static_assert(std::is_same_v<judgement<int*>, refused<int*>>);
static_assert(tandem::transferable<const int>);
static_assert(!tandem::transferable<int&>);
static_assert(!tandem::transferable<void>);
static_assert(!tandem::carries_handles<int>);

}  // namespace
