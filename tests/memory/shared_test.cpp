// Shared memory, for thread and process alike: the same memory on both sides, and nothing of it left.
#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "support/fixture.hpp"

namespace {

using namespace tandem::literals;
using tandem::shared;
using tandem::shared_array;
using tandem::shared_memory;

template <class Unit>
class memory : public tandem::test::checked {};
TYPED_TEST_SUITE(memory, tandem::test::both, tandem::test::unit_names);

struct point {
  int x = 0;
  int y = 0;
};

struct board {
  std::atomic<int> moves = 0;
  std::array<point, 4> pieces = {};
  std::pair<int, double> best = {};
  std::tuple<char, long> last = {};
  std::optional<int> winner = {};
  char name[32] = {};
};

TYPED_TEST(memory, an_array_is_the_same_on_both_sides) {
  shared_array<int> numbers(1000);
  std::iota(numbers.span().begin(), numbers.span().end(), 0);
  auto unit = TypeParam::start(
      [](const shared_array<int>& all) {
        long sum = 0;
        for (int& n : all.span()) sum += n++;
        return sum;
      },
      numbers);
  EXPECT_EQ(unit.get(), 499'500);
  EXPECT_EQ(numbers.span()[0], 1);
  EXPECT_EQ(numbers.span()[999], 1000);
}

TYPED_TEST(memory, begins_as_zeros) {
  for (int i = 0; i < 3; ++i) {
    shared_array<long> numbers(10'000);
    EXPECT_EQ(std::count(numbers.span().begin(), numbers.span().end(), 0), 10'000);
    TypeParam::start([](const shared_array<long>& all) { std::fill(all.span().begin(), all.span().end(), -1); },
                     numbers)
        .get();
    EXPECT_EQ(std::count(numbers.span().begin(), numbers.span().end(), -1), 10'000);
  }
}

TYPED_TEST(memory, an_object_is_the_same_on_both_sides) {
  shared<board> b;
  b->moves = 5;
  auto unit = TypeParam::start(
      [](const shared<board>& seen) {
        seen->pieces[2] = {3, 4};
        seen->winner = 7;
        seen->best = {1, 2.5};
        seen->last = {'a', 9L};
        seen->name[0] = 'T';
        return seen->moves++;
      },
      b);
  EXPECT_EQ(unit.get(), 5);
  EXPECT_EQ(b->moves, 6);
  EXPECT_EQ(b->pieces[2].y, 4);
  EXPECT_EQ(b->winner, 7);
  EXPECT_EQ(b->best.second, 2.5);
  EXPECT_EQ(std::get<1>(b->last), 9);
  EXPECT_EQ(b->name[0], 'T');
}

TYPED_TEST(memory, bytes_are_the_same_on_both_sides) {
  const shared_memory m(70'000);
  EXPECT_EQ(m.bytes().size(), 70'000U);
  TypeParam::start([](const shared_memory& seen) { seen.bytes()[69'999] = std::byte{9}; }, m).get();
  EXPECT_EQ(m.bytes()[69'999], std::byte{9});
}

TYPED_TEST(memory, comes_back_as_a_result) {
  auto unit = TypeParam::start([] {
    shared_array<double> made(5);
    made.span()[4] = 0.5;
    return made;
  });
  const shared_array<double> got = unit.get();
  EXPECT_EQ(got.size(), 5U);
  EXPECT_EQ(got.span()[4], 0.5);
}

struct work {
  std::string name = {};
  std::vector<shared_array<int>> parts = {};
  std::optional<shared<point>> where = {};
};

TYPED_TEST(memory, goes_inside_of_other_values) {
  work w{"all", {}, shared<point>(1, 2)};
  for (int i = 0; i < 300; ++i) w.parts.emplace_back(static_cast<std::size_t>(i));
  auto unit = TypeParam::start(
      [](work seen) {
        for (auto& part : seen.parts) std::fill(part.span().begin(), part.span().end(), 1);
        (*seen.where)->x = static_cast<int>(seen.parts.size());
        return seen;
      },
      w);
  const work back = unit.get();
  EXPECT_EQ((*w.where)->x, 300);
  EXPECT_EQ((*back.where)->x, 300);
  EXPECT_EQ(back.parts.size(), 300U);
  EXPECT_EQ(w.parts[299].span()[298], 1);
  EXPECT_TRUE(w.parts[0].span().empty());
}

TYPED_TEST(memory, what_was_moved_from_arrives_so) {
  shared_array<int> a(3);
  const shared_array<int> taken(std::move(a));
  EXPECT_EQ(a.size(), 0U);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(TypeParam::start([](const shared_array<int>& seen) { return seen.span().size(); }, a).get(), 0U);
  EXPECT_EQ(taken.size(), 3U);
}

TYPED_TEST(memory, lives_as_long_as_any_handle) {
  std::optional<shared<int>> first(std::in_place, 41);
  const shared<int> second = *first;
  first.reset();
  EXPECT_EQ(*second, 41);
  auto unit = TypeParam::start(
      [](const shared<int>& seen) {
        ++*seen;
        return seen;
      },
      second);
  EXPECT_EQ(*unit.get(), 42);
  EXPECT_EQ(*second, 42);
}

TYPED_TEST(memory, readers_only_read) {
  shared_array<int> numbers(100);
  const shared_array<const int> reading = numbers.read_only();
  numbers.span()[7] = 70;
  auto unit = TypeParam::start([](const shared_array<const int>& seen) { return seen.span()[7]; }, reading);
  EXPECT_EQ(unit.get(), 70);
}

}  // namespace
