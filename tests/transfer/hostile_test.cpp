// Bytes that nobody encoded: an error, with nothing left behind and no memory out of proportion.
#include <gtest/gtest.h>

#include "allocations.hpp"
#include "samples.hpp"

namespace {

using namespace samples;
using tandem::decode;
using tandem::decode_error;
using tandem::encode;
using bytes = std::vector<std::byte>;

constexpr std::size_t budget_of(std::size_t size) { return (1U << 20) + 1024 * size; }
constexpr std::size_t slack = 4096;  // the text of the error

/// Decodes; a value or decode_error, within the budget, and nothing stays allocated.
template <class T>
bool decodes(const bytes& input) {
  const auto before = allocations::now();
  allocations::restart_peak();
  bool good = true;
  try {
    [[maybe_unused]] const T value = decode<T>(input);
  } catch (const decode_error&) {
    good = false;
  }
  EXPECT_EQ(allocations::now(), before) << "leaked, decoding " << tandem::detail::type_name<T>();
  EXPECT_LE(allocations::peak() - before, budget_of(input.size()) + slack) << tandem::detail::type_name<T>();
  return good;
}

template <class... T>
bytes joined(const T&... values) {
  tandem::writer w;
  (w(values), ...);
  return tandem::detail::take_bytes(std::move(w));
}

TEST(hostile, truncated_at_every_byte) {
  for_each_sample([]<class T>(const T& value) {
    const bytes whole = encode(value);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(decodes<T>(bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))))
          << tandem::detail::type_name<T>() << " cut to " << size;
    }
  });
}

TEST(hostile, one_byte_too_many) {
  for_each_sample([]<class T>(const T& value) {
    for (const std::byte extra : {std::byte{0}, std::byte{1}}) {
      bytes longer = encode(value);
      longer.push_back(extra);
      EXPECT_FALSE(decodes<T>(longer)) << tandem::detail::type_name<T>();
    }
  });
}

TEST(hostile, every_byte_corrupted) {
  for_each_sample([]<class T>(const T& value) {
    const bytes good = encode(value);
    if (good.size() > 600) return;
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (const unsigned pattern : {0x01U, 0x80U, 0xffU, 0x55U}) {
        bytes bad = good;
        bad[i] ^= std::byte{static_cast<unsigned char>(pattern)};
        decodes<T>(bad);
      }
    }
  });
}

TEST(hostile, huge_counts) {
  for (const std::uint64_t count : {std::uint64_t{1} << 32, std::uint64_t{1} << 61, std::uint64_t{1} << 63,
                                    ~std::uint64_t{0}, ~std::uint64_t{0} / 8}) {
    for_each_sample([&]<class T>(const T&) {
      if constexpr (tandem::detail::smallest<T>() == 8 && !tandem::detail::is_flat<T> &&
                    tandem::detail::kind_of<T> != tandem::detail::kind::bitset) {
        EXPECT_FALSE(decodes<T>(encode(count))) << tandem::detail::type_name<T>();
        bytes more = encode(count);
        more.resize(100);
        EXPECT_FALSE(decodes<T>(more)) << tandem::detail::type_name<T>();
      }
    });
  }
}

TEST(hostile, counts_of_elements_without_bytes) {
  EXPECT_FALSE(decodes<std::vector<nothing>>(encode(std::uint64_t{1} << 40)));
  EXPECT_FALSE(decodes<std::list<nothing>>(encode(std::uint64_t{1} << 20)));
  EXPECT_TRUE(decodes<std::vector<nothing>>(encode(std::uint64_t{1} << 19)));
}

TEST(hostile, values_larger_than_their_bytes) {
  // 2 000 empty optionals of 4 KiB: 2 KiB of input, 8 MiB of memory.
  using element = std::optional<std::array<char, 4096>>;
  bytes input = encode(std::uint64_t{2000});
  input.resize(8 + 2000);
  EXPECT_FALSE(decodes<std::vector<element>>(input));
  EXPECT_FALSE(decodes<std::list<element>>(input));
  EXPECT_FALSE(decodes<std::deque<element>>(input));
}

TEST(hostile, bombs_of_depth) {
  // A chain: value, one, value, one ...
  bytes deep;
  for (int i = 0; i < 100'000; ++i) {
    for (const std::byte b : joined(i, true)) deep.push_back(b);
  }
  EXPECT_FALSE(decodes<chain>(deep));
  bytes trees;
  for (int i = 0; i < 100'000; ++i) {
    for (const std::byte b : joined(i, std::uint64_t{1})) trees.push_back(b);
  }
  EXPECT_FALSE(decodes<tree>(trees));
}

TEST(hostile, keys_that_are_there_twice) {
  EXPECT_FALSE(decodes<std::set<int>>(encode(std::vector<int>{1, 2, 1})));
  EXPECT_FALSE(decodes<std::unordered_set<int>>(encode(std::vector<int>{1, 2, 1})));
  EXPECT_FALSE((decodes<std::map<int, bool>>(encode(std::vector<std::pair<int, bool>>{{1, true}, {1, false}}))));
  EXPECT_FALSE(
      (decodes<std::unordered_map<int, bool>>(encode(std::vector<std::pair<int, bool>>{{1, true}, {1, false}}))));
  EXPECT_TRUE(decodes<std::multiset<int>>(encode(std::vector<int>{1, 2, 1})));
  EXPECT_EQ(decode<std::set<int>>(encode(std::vector<int>{3, 1, 2})), (std::set<int>{1, 2, 3}));
}

TEST(hostile, patterns_that_are_no_value) {
  for (unsigned pattern = 2; pattern < 256; ++pattern) {
    const bytes b{std::byte{static_cast<unsigned char>(pattern)}};
    EXPECT_FALSE(decodes<bool>(b));
    EXPECT_FALSE(decodes<truth>(b));
    EXPECT_FALSE(decodes<std::optional<nothing>>(b));
  }
  EXPECT_FALSE((decodes<std::variant<int, bool>>(joined(std::uint16_t{2}, 0))));
  EXPECT_FALSE(decodes<std::bitset<3>>({std::byte{8}}));
  EXPECT_TRUE(decodes<std::bitset<3>>({std::byte{7}}));
  EXPECT_FALSE(decodes<std::vector<bool>>(joined(std::uint64_t{3}, std::byte{8})));
  EXPECT_TRUE(decodes<std::vector<bool>>(joined(std::uint64_t{3}, std::byte{7})));
}

// ---- the padding rule ----

template <class T>
void expect_exact_padding(const T& value, std::size_t unpadded) {
  const bytes good = encode(value);
  EXPECT_GT(good.size(), unpadded);
  EXPECT_EQ(encode(decode<T>(good)), good);
  EXPECT_TRUE(decodes<T>(good));

  bytes shorter = good;
  shorter.pop_back();
  EXPECT_FALSE(decodes<T>(shorter));
  bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decodes<T>(longer));
  for (const std::size_t at : {unpadded, good.size() - 1}) {
    bytes wrong = good;
    wrong[at] = std::byte{1};
    EXPECT_FALSE(decodes<T>(wrong));
  }
}

TEST(padding, warrants_what_is_larger_than_its_bytes) {
  expect_exact_padding(std::vector<std::optional<std::array<char, 4096>>>(2000), 8 + 2000);
  expect_exact_padding(std::vector<nothing>(5'000'000), 8);
  expect_exact_padding(std::list<nothing>(100'000), 8);
  expect_exact_padding(std::vector<std::variant<nothing, std::array<char, 8192>>>(1000), 8 + 2000);
}

TEST(padding, is_not_added_where_it_is_not_needed) {
  EXPECT_EQ(encode(std::vector<char>(3'000'000)).size(), 8U + 3'000'000U);
  EXPECT_EQ(encode(std::vector<std::deque<int>>(10'000)).size(), 8U + 10'000U * 8U);
  EXPECT_EQ(encode(std::vector<std::optional<std::array<char, 500>>>(10'000)).size(), 8U + 10'000U);
}

TEST(padding, covers_a_whole_message) {
  tandem::writer w;
  const std::vector<nothing> a(3'000'000);
  w(a);
  w(std::string("last"));
  const bytes message = tandem::detail::take_bytes(std::move(w));
  auto r = tandem::detail::make_reader(message);
  EXPECT_EQ(tandem::detail::read_value<std::vector<nothing>>(r).size(), a.size());
  EXPECT_EQ(tandem::detail::read_value<std::string>(r), "last");
  EXPECT_NO_THROW(tandem::detail::finish(r));
}

// ---- memory and stack ----

TEST(memory, encoding_small_values_allocates_only_the_result) {
  const point p{1, 2};
  allocations::restart_count();
  tandem::writer w;
  w(p);
  w(7);
  EXPECT_EQ(tandem::detail::finished_bytes(w).size(), 12U);
  EXPECT_EQ(allocations::count(), 0U);
}

TEST(memory, decoding_a_flat_vector_allocates_once) {
  const bytes input = encode(std::vector<double>(1000));
  allocations::restart_count();
  const auto back = decode<std::vector<double>>(input);
  EXPECT_EQ(allocations::count(), 1U);
}

struct wide_node {
  std::array<char, 60'000> weight{};
  std::vector<wide_node> kids = {};
};
struct wide_variant {
  std::variant<int, std::pair<std::array<char, 60'000>, std::vector<wide_variant>>> v = 0;
};

TEST(memory, deep_and_wide_values_need_little_stack) {
  wide_node n;
  wide_variant v;
  for (int i = 0; i < 400; ++i) {
    std::vector<wide_node> kids;
    kids.push_back(std::move(n));
    n = wide_node{};
    n.kids = std::move(kids);
    std::pair<std::array<char, 60'000>, std::vector<wide_variant>> next;
    next.second.push_back(std::move(v));
    v.v = std::move(next);
  }
  const bytes b = encode(n);
  EXPECT_EQ(encode(decode<wide_node>(b)), b);
  const bytes c = encode(v);
  EXPECT_EQ(encode(decode<wide_variant>(c)), c);
}

}  // namespace
