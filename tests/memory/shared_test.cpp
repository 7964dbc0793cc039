// Shared memory, for thread and process alike: the same memory on both sides, and nothing of it left.
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>
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

TYPED_TEST(memory, the_lock_that_comes_with_an_object) {
  shared<std::pair<long, long>> counts(0L, 0L);
  const auto count = [](const shared<std::pair<long, long>>& both) {
    for (int i = 0; i < 20'000; ++i) {
      both.with([](auto& seen) {
        ++seen.first;
        ++seen.second;
      });
    }
    return both.with([](auto& seen) { return seen.first - seen.second; });
  };
  auto one = TypeParam::start(count, counts);
  auto two = TypeParam::start(count, counts);
  EXPECT_EQ(one.get(), 0);
  EXPECT_EQ(two.get(), 0);
  EXPECT_EQ(counts->first, 40'000);
  long& first = counts.with([](auto& seen) -> long& { return seen.first; });
  EXPECT_EQ(&first, &counts->first);
  EXPECT_THROW(counts.with([](auto&) { throw std::runtime_error("no"); }), std::runtime_error);
  counts.with([](auto& seen) { seen = {}; });  // it was given back
  EXPECT_EQ(counts->second, 0);
}

class memory_of_the_dead : public tandem::test::checked {};

TEST_F(memory_of_the_dead, says_so_until_it_is_repaired) {
  shared<point> p(1, 1);
  tandem::process killed(
      [](const shared<point>& seen) {
        seen.with([](point& half) {
          half.x = 2;
          ::raise(SIGKILL);
        });
      },
      p);
  killed.join();
  EXPECT_EQ(killed.status()->signal(), SIGKILL);
  EXPECT_THROW(p.with([](point&) { FAIL() << "called"; }), tandem::owner_died);
  EXPECT_THROW(p.lock_and_repair([](point&) { throw std::runtime_error("not whole"); }), std::runtime_error);
  EXPECT_THROW(p.with([](point&) {}), tandem::owner_died);
  EXPECT_EQ(p->x, 2);  // without the lock it is as it is
  p.lock_and_repair([](point& half) { half.y = half.x; });
  EXPECT_EQ(p.with([](point& whole) { return whole.y; }), 2);
  EXPECT_EQ(tandem::process([](const shared<point>& seen) { return seen.with([](point& w) { return w.x; }); }, p).get(),
            2);
}

struct gate {
  tandem::mutex lock = {};
  tandem::condition_variable opened = {};
  bool is_open = false;
};

TYPED_TEST(memory, locks_live_in_objects_and_arrays) {
  shared<gate> g;
  shared_array<tandem::mutex> locks(4);
  auto unit = TypeParam::start(
      [](const shared<gate>& seen, const shared_array<tandem::mutex>& all) {
        const std::lock_guard third(all.span()[2]);
        std::unique_lock lock(seen->lock);
        seen->opened.wait(lock, [&] { return seen->is_open; });
        return 5;
      },
      g, locks);
  {
    const std::lock_guard lock(g->lock);
    g->is_open = true;
  }
  g->opened.notify_all();
  EXPECT_EQ(unit.get(), 5);
  EXPECT_TRUE(locks.span()[2].try_lock());
  locks.span()[2].unlock();
}

TYPED_TEST(memory, what_waits_lives_there_too) {
  shared<tandem::latch> both(2);
  shared<tandem::counting_semaphore<>> permits(0);
  shared<tandem::event> begun;
  auto unit = TypeParam::start(
      [](const shared<tandem::latch>& l, const shared<tandem::counting_semaphore<>>& s,
         const shared<tandem::event>& e) {
        e->wait();
        s->release(2);
        l->arrive_and_wait();
      },
      both, permits, begun);
  begun->set();
  permits->acquire();
  permits->acquire();
  both->arrive_and_wait();
  unit.get();
}

// One that can neither be moved nor copied is made in place.
struct fixed {
  explicit fixed(int n) : number(n) {}
  fixed(const fixed&) = delete;
  fixed& operator=(const fixed&) = delete;
  std::atomic<int> number;
};

struct throws_at_once {
  explicit throws_at_once(int n) : value(n) {
    if (n != 0) throw std::out_of_range("refused");
  }
  int value = 0;
};

}  // namespace
template <>
inline constexpr bool tandem::enable_shared<fixed> = true;
namespace {

TEST_F(memory_of_the_dead, a_peer_that_writes_over_a_lock_does_not_end_its_owner) {
  for (const int byte : {0, 0x5a, 0xff}) {
    const shared<point> p(1, 1);
    const auto write_over_all = [&] {
      tandem::process(
          [](const shared<point>& seen, int value) {
            std::memset(static_cast<void*>(seen.get()), value, sizeof(point) + sizeof(tandem::mutex));
          },
          p, byte)
          .get();
    };
    EXPECT_EQ(p.with([&](point&) {
      write_over_all();
      return 7;
    }),
              7);
    const shared<point> another(1, 1);
    EXPECT_THROW(another.with([&](point&) {
      std::memset(static_cast<void*>(another.get()), byte, sizeof(point) + sizeof(tandem::mutex));
      throw std::out_of_range("as it was thrown");
    }),
                 std::out_of_range);
    EXPECT_NO_THROW(shared<point>(1, 1).with([](point&) {}));
  }
}

TEST_F(memory_of_the_dead, is_made_in_place) {
  const shared<fixed> f(7);
  EXPECT_EQ(f->number, 7);
  EXPECT_EQ(tandem::process([](const shared<fixed>& seen) { return ++seen->number; }, f).get(), 8);
  EXPECT_THROW(shared<throws_at_once>(1), std::out_of_range);
  const int n = 3;  // which braces would refuse to narrow
  EXPECT_EQ(*shared<double>(n), 3.0);
  EXPECT_EQ(*shared<std::atomic<std::size_t>>(n), 3U);
}

TEST_F(memory_of_the_dead, is_gone_when_its_holders_are_killed) {
  // Made by a worker, handed to a worker of that one, and all of them killed: the fixture looks for what is left.
  tandem::process p([] {
    shared_array<int> made(1'000'000);
    tandem::process below([](const shared_array<int>&) { ::raise(SIGKILL); }, made);
    below.join();
    ::raise(SIGKILL);
  });
  p.join();
  EXPECT_EQ(p.status()->signal(), SIGKILL);
}

}  // namespace
