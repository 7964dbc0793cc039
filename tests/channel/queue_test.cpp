// Message queues, between threads and between processes.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "channel/samples.hpp"
#include "support/fixture.hpp"

// Refuses to be written at one time, and to be read at another.
struct moody {
  int mood = 0;
};
template <>
struct tandem::transfer<moody> {
  static void write(writer& w, const moody& m) {
    if (m.mood == 1) throw std::domain_error("not now");
    w(m.mood);
  }
  static moody read(reader& r) {
    moody m;
    r(m.mood);
    if (m.mood == 3) throw std::domain_error("nor now");
    return m;
  }
};

template class tandem::queue<int>;
template class tandem::queue<std::array<char, 1000>>;

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::queue;

template <class Unit>
class queues : public tandem::test::checked {};
TYPED_TEST_SUITE(queues, tandem::test::both, tandem::test::unit_names);
class queue_test : public tandem::test::checked {};

struct reading {
  int sensor = 0;
  int step = 0;
  double value = 0;
  bool operator==(const reading&) const = default;
};
struct preset {
  std::int64_t number = 5;
  std::array<std::int64_t, 100> more = {1, 2, 3};
  bool operator==(const preset&) const = default;
};
struct named {
  std::string name = {};
  std::vector<int> numbers = {};
  bool operator==(const named&) const = default;
};

// ---- messages -------------------------------------------------------------------------------------------------------

TYPED_TEST(queues, carry_what_was_pushed_in_order) {
  const queue<reading> flat(16);
  const queue<named> any(16);
  auto u = TypeParam::start(
      [](const queue<reading>& f, const queue<named>& a) {
        for (int i = 0; i < 1000; ++i) {
          f.push({i, i + 1, i / 2.0});
          a.push({std::string(static_cast<std::size_t>(i), 'x'), {i, i}});
        }
        f.close();
        a.close();
      },
      flat, any);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(flat.pop(), (reading{i, i + 1, i / 2.0}));
    EXPECT_EQ(any.pop(), (named{std::string(static_cast<std::size_t>(i), 'x'), {i, i}}));
  }
  EXPECT_EQ(flat.pop(), std::nullopt);
  EXPECT_EQ(any.pop(), std::nullopt);
  u.get();
}

TYPED_TEST(queues, of_many_pushers_and_poppers_deliver_each_message_once) {
  constexpr int pushers = 3, poppers = 3, each = 400;
  const queue<int> numbers(8);
  const queue<std::string> texts(8);
  std::vector<typename TypeParam::template unit<void>> in;
  std::vector<typename TypeParam::template unit<std::vector<int>>> out;
  for (int p = 0; p < pushers; ++p) {
    in.push_back(TypeParam::start(
        [](const queue<int>& n, const queue<std::string>& t, int which) {
          for (int i = 0; i < each; ++i) {
            n.push(which * each + i);
            t.push(std::to_string(which * each + i));
          }
        },
        numbers, texts, p));
  }
  for (int p = 0; p < poppers; ++p) {
    out.push_back(TypeParam::start(
        [](const queue<int>& n, const queue<std::string>& t) {
          std::vector<int> got;
          for (const int one : n) {
            got.push_back(one);
            if (const auto text = t.pop()) got.push_back(std::stoi(*text));
          }
          while (const auto text = t.pop()) got.push_back(std::stoi(*text));
          return got;
        },
        numbers, texts));
  }
  for (auto& u : in) u.get();
  numbers.close();
  texts.close();
  std::vector<int> seen(pushers * each, 0);
  for (auto& u : out) {
    for (const int one : u.get()) ++seen.at(static_cast<std::size_t>(one));
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 2), pushers * each);
  const tandem::queue_stats s = numbers.stats();
  EXPECT_EQ(s.pushed, static_cast<std::size_t>(pushers * each));
  EXPECT_EQ(s.popped, s.pushed);
  EXPECT_EQ(s.torn + s.lost, 0U);
}

// Lesson C1: what was pushed is in the queue, whoever ends and before it is read.
TYPED_TEST(queues, deliver_what_a_unit_pushed_that_has_ended) {
  const queue<std::string> q(4);
  TypeParam::start([](const queue<std::string>& out) { out.push(std::string(70'000, 'y')); }, q).join();
  EXPECT_EQ(q.size(), 1U);
  EXPECT_EQ(q.pop(), std::string(70'000, 'y'));
}

TYPED_TEST(queues, carry_messages_as_large_as_their_bytes) {
  const queue<std::string> q(4, {.bytes = 64_KiB});
  static constexpr std::size_t most = 64_KiB - 8;  // the count goes with it
  EXPECT_THROW(q.push(std::string(most + 1, 'a')), std::length_error);
  EXPECT_THROW(q.try_push(std::string(most + 1, 'a')), std::length_error);
  EXPECT_EQ(q.size(), 0U);
  auto u = TypeParam::start(
      [](const queue<std::string>& out) {
        for (std::size_t i = 0; i < 40; ++i)
          out.push(std::string(i % 3 == 0 ? most : 20'000 + i, static_cast<char>('a' + i % 26)));
      },
      q);
  for (std::size_t i = 0; i < 40; ++i)
    EXPECT_EQ(q.pop(), std::string(i % 3 == 0 ? most : 20'000 + i, static_cast<char>('a' + i % 26)));
  u.get();
}

TEST_F(queue_test, sizes_between_small_and_large_arrive) {
  const queue<std::string> q(3, {.bytes = 8_KiB});
  for (std::size_t size = 0; size < 5000; size += size < 100 ? 1 : 97) {
    const std::string text(size, static_cast<char>('a' + size % 26));
    q.push(text);
    ASSERT_EQ(q.pop(), text);
  }
}

template <std::size_t Size>
void expect_to_arrive() {
  using block = std::array<unsigned char, Size>;
  const queue<block> q(3);
  for (unsigned char first = 1; first < 8; ++first) {
    block sent;
    std::iota(sent.begin(), sent.end(), first);
    q.push(sent);
    const std::optional<block> got = q.pop();
    ASSERT_TRUE(got && *got == sent) << Size;
  }
  EXPECT_EQ(q.try_pop(), std::nullopt);
}

TEST_F(queue_test, messages_of_one_size_arrive_whatever_it_is) {
  expect_to_arrive<1>();
  expect_to_arrive<63>();
  expect_to_arrive<256>();
  expect_to_arrive<257>();
  expect_to_arrive<5000>();
  expect_to_arrive<100'000>();
  const queue<preset> q(2);
  const preset sent{-1, {7}};
  q.push(sent);
  EXPECT_TRUE(q.pop() == sent);
}

// What is small, or owns what a copy would not, is taken by value: who pushes may change it at once, and has moved it.
TEST_F(queue_test, only_what_may_be_large_is_read_where_it_is) {
  using block = std::array<char, 1000>;
  static_cast<void>(static_cast<bool (queue<int>::*)(int) const>(&queue<int>::try_push));
  static_cast<void>(static_cast<bool (queue<named>::*)(named) const>(&queue<named>::try_push));
  static_cast<void>(static_cast<bool (queue<block>::*)(const block&) const>(&queue<block>::try_push));
  const queue<std::unique_ptr<int>> owners(1);
  auto owner = std::make_unique<int>(4);
  owners.push(std::move(owner));
  EXPECT_EQ(owner, nullptr);  // NOLINT: it was moved
  EXPECT_EQ(**owners.pop(), 4);

  const queue<int> q(1);
  q.push(0);
  std::atomic<bool> begins{false};
  int value = 1;
  tandem::thread pusher([&] {
    begins = true;
    q.push(value);
  });
  while (!begins) std::this_thread::yield();
  EXPECT_EQ(q.pop(), 0);
  EXPECT_EQ(q.pop(), 1);
  pusher.get();
  volatile int hidden = 7;
  q.push(hidden);
  EXPECT_EQ(q.pop(), 7);
}

TEST_F(queue_test, a_message_of_one_size_over_the_bytes_is_refused) {
  const queue<std::array<char, 1000>> q(4, {.bytes = 999});
  EXPECT_THROW(q.push({}), std::length_error);
  EXPECT_THROW(queue<int>(0), std::invalid_argument);
  EXPECT_THROW(queue<int>(std::size_t{1} << 60), tandem::resource_exhausted);
}

TEST_F(queue_test, bytes_bound_messages_of_one_size_too) {
  const queue<std::array<char, 1000>> q(100, {.bytes = 3500});
  EXPECT_TRUE(q.try_push({}));
  EXPECT_TRUE(q.try_push({}));
  EXPECT_TRUE(q.try_push({}));
  EXPECT_FALSE(q.try_push({}));
  EXPECT_EQ(q.capacity(), 100U);
}

// ---- bounds and endings -----------------------------------------------------------------------------------------------

TEST_F(queue_test, is_bounded_by_its_capacity) {
  for (const std::size_t capacity : {1U, 2U, 3U, 5U, 8U, 100U}) {
    const queue<int> q(capacity);
    const queue<std::string> t(capacity);
    EXPECT_EQ(q.capacity(), capacity);
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < capacity; ++i) {
        EXPECT_TRUE(q.try_push(static_cast<int>(i)));
        EXPECT_TRUE(t.try_push("text"));
      }
      EXPECT_FALSE(q.try_push(7));
      EXPECT_FALSE(t.try_push("text"));
      EXPECT_FALSE(q.push_for(7, 1ms));
      EXPECT_EQ(q.size(), capacity);
      for (std::size_t i = 0; i < capacity; ++i) {
        EXPECT_EQ(q.try_pop(), static_cast<int>(i));
        EXPECT_EQ(t.try_pop(), "text");
      }
      EXPECT_EQ(q.try_pop(), std::nullopt);
      EXPECT_EQ(q.pop_for(1ms), std::nullopt);
      EXPECT_EQ(q.pop_for(-1ms), std::nullopt);
      EXPECT_EQ(q.size(), 0U);
    }
  }
}

TYPED_TEST(queues, a_full_one_blocks_its_pusher_until_there_is_room) {
  const queue<int> q(1);
  const queue<int> said(4);
  auto u = TypeParam::start(
      [](const queue<int>& out, const queue<int>& tell) {
        out.push(1);
        tell.push(1);
        out.push(2);
        tell.push(2);
      },
      q, said);
  EXPECT_EQ(said.pop(), 1);
  EXPECT_EQ(said.try_pop(), std::nullopt);  // the second is not through: the first was not popped
  EXPECT_EQ(q.pop(), 1);
  EXPECT_EQ(said.pop(), 2);
  EXPECT_EQ(q.pop(), 2);
  u.get();
}

TYPED_TEST(queues, closing_wakes_those_who_wait) {
  const queue<int> full(1), empty(1), ready(4);
  full.push(1);
  auto pusher = TypeParam::start(
      [](const queue<int>& q, const queue<int>& r) {
        r.push(1);
        q.push(2);
      },
      full, ready);
  auto popper = TypeParam::start(
      [](const queue<int>& q, const queue<int>& r) {
        r.push(1);
        return q.pop().has_value();
      },
      empty, ready);
  ready.pop();
  ready.pop();
  full.close();
  empty.close();
  EXPECT_THROW(pusher.get(), tandem::closed);
  EXPECT_FALSE(popper.get());
  EXPECT_TRUE(full.is_closed());
  EXPECT_EQ(full.pop(), 1);  // what was in it
  EXPECT_EQ(full.pop(), std::nullopt);
  EXPECT_THROW(full.try_pop(), tandem::closed);
  EXPECT_THROW(full.pop_for(1s), tandem::closed);
  EXPECT_THROW(full.push(1), tandem::closed);
  EXPECT_THROW(full.try_push(1), tandem::closed);
  EXPECT_THROW(full.push_for(1, 1s), tandem::closed);
  EXPECT_TRUE(full.pop_some(3).empty());
  full.close();
}

TEST_F(queue_test, a_stop_ends_a_wait) {
  const queue<int> q(1);
  std::stop_source stop;
  q.push(stop.get_token(), 1);
  tandem::thread pusher([q, token = stop.get_token()] { q.push(token, 2); });
  const queue<int> empty(1);
  tandem::thread popper([empty, token = stop.get_token()] { return empty.pop(token); });
  stop.request_stop();
  EXPECT_THROW(pusher.get(), tandem::cancelled);
  EXPECT_THROW(popper.get(), tandem::cancelled);
  EXPECT_THROW(q.push(stop.get_token(), 3), tandem::cancelled);
  EXPECT_THROW(q.pop(stop.get_token()), tandem::cancelled);
  EXPECT_EQ(q.pop(), 1);
  EXPECT_EQ(q.size(), 0U);
}

TEST_F(queue_test, many_at_once) {
  const queue<int> q(10);
  EXPECT_EQ(q.push_all(std::vector{1, 2, 3, 4, 5}), 5U);
  EXPECT_EQ(q.pop_some(0), std::vector<int>{});
  EXPECT_EQ(q.pop_some(3), (std::vector{1, 2, 3}));
  EXPECT_EQ(q.pop_some(30), (std::vector{4, 5}));
  tandem::thread popper([q] {
    int sum = 0;
    for (const int one : q) sum += one;
    return sum;
  });
  std::vector<int> many(1000);
  std::iota(many.begin(), many.end(), 0);
  EXPECT_EQ(q.push_all(many), 1000U);
  q.close();
  EXPECT_EQ(popper.get(), 499500);
  EXPECT_THROW(q.push_all(many), tandem::closed);
}

TYPED_TEST(queues, join_waits_until_all_is_done) {
  const queue<int> q(4);
  EXPECT_THROW(q.task_done(), std::logic_error);
  q.join();
  auto u = TypeParam::start(
      [](const queue<int>& in) {
        for ([[maybe_unused]] const int one : in) in.task_done();
      },
      q);
  for (int i = 0; i < 20; ++i) q.push(i);
  q.join();
  EXPECT_EQ(q.size(), 0U);
  q.close();
  u.get();
  EXPECT_THROW(q.task_done(), std::logic_error);
}

TEST_F(queue_test, what_cannot_be_encoded_is_the_pushers_error) {
  const queue<moody> q(1);
  EXPECT_THROW(q.push({1}), std::domain_error);
  EXPECT_EQ(q.size(), 0U);
  EXPECT_TRUE(q.try_push({2}));
  EXPECT_THROW(q.try_push({1}), std::domain_error);
  EXPECT_EQ(q.pop()->mood, 2);
  q.push({3});
  EXPECT_THROW(q.pop(), std::domain_error);  // it cannot be decoded: costs that one
  q.push({4});
  EXPECT_EQ(q.pop()->mood, 4);
}

// ---- in place ---------------------------------------------------------------------------------------------------------

using large = std::array<int, 25'000>;

TYPED_TEST(queues, messages_are_made_and_read_in_place) {
  const queue<large> q(3);
  auto u = TypeParam::start(
      [](const queue<large>& out) {
        for (int i = 0; i < 10; ++i) {
          auto place = out.loan();
          place->fill(i);
          place.push();
        }
        { auto given_up = out.loan(); }
        out.loan().push();
      },
      q);
  for (int i = 0; i < 10; ++i) {
    const auto message = q.view();
    ASSERT_TRUE(message);
    EXPECT_EQ(std::count((*message)->begin(), (*message)->end(), i), 25'000);
  }
  EXPECT_TRUE(q.view());
  u.get();
  EXPECT_EQ(q.size(), 0U);
  q.close();
  EXPECT_FALSE(q.view());
  EXPECT_EQ(q.stats().pushed, 11U);
  EXPECT_EQ(q.stats().popped, 11U);
  EXPECT_EQ(q.stats().torn, 0U);
}

TEST_F(queue_test, a_loan_is_pushed_once) {
  const queue<int> q(2);
  auto place = q.loan();
  *place = 5;
  place.push();
  EXPECT_THROW(place.push(), std::logic_error);
  EXPECT_EQ(q.pop(), 5);
}

// ---- handles ------------------------------------------------------------------------------------------------------------

struct with_queue {
  std::string name = {};
  queue<int> q{1};
};

TEST_F(queue_test, a_copy_of_the_program_has_no_part_in_a_loan) {
  const queue<std::array<int, 64>> q(4);
  std::optional next(q.loan());
  tandem::process copy(tandem::fork_options{}, [&] { next.reset(); });
  copy.get();
  EXPECT_EQ(q.stats().pushed, 0U);
  (*next)->fill(3);
  next->push();
  EXPECT_EQ(q.stats().pushed, 1U);
  EXPECT_EQ(q.pop()->front(), 3);
  q.task_done();
  q.join();
  EXPECT_EQ(q.stats().popped, 1U);
}

TYPED_TEST(queues, go_through_pipes_and_inside_of_values) {
  auto [rx, tx] = tandem::make_pipe<with_queue>();
  auto u = TypeParam::start(
      [](const tandem::receiver<with_queue>& in) {
        while (const auto got = in.receive()) got->q.push(static_cast<int>(got->name.size()));
      },
      rx);
  const queue<int> q(4);
  tx.send({"four", q});
  tx.send({"seven..", q});
  EXPECT_EQ(q.pop(), 4);
  EXPECT_EQ(q.pop(), 7);
  tx.close();
  u.get();
}

TEST_F(queue_test, is_passed_on_to_a_grandchild) {
  const queue<std::string> q(4);
  tandem::process child(
      [](const queue<std::string>& given) {
        tandem::process grandchild([](const queue<std::string>& out) { out.push("from below"); }, given);
        grandchild.get();
      },
      q);
  child.get();
  EXPECT_EQ(q.pop(), "from below");
}

TEST_F(queue_test, is_returned_by_a_process) {
  tandem::process maker([] {
    queue<int> made(4);
    made.push(42);
    return made;
  });
  const queue<int> q = maker.get();
  EXPECT_EQ(q.pop(), 42);
}

// ---- wait_any -----------------------------------------------------------------------------------------------------------

TYPED_TEST(queues, are_waited_for_beside_others) {
  const queue<int> q(4), go(1);
  auto [rx, tx] = tandem::make_pipe<int>();
  EXPECT_EQ(tandem::wait_any(std::tie(q, rx), 1ms), std::nullopt);
  q.push(1);
  EXPECT_EQ(tandem::wait_any(std::tie(rx, q)), 1U);
  EXPECT_EQ(q.pop(), 1);
  auto u = TypeParam::start(
      [](const queue<int>& out, const queue<int>& g) {
        g.pop();
        out.push(2);
        g.pop();
        out.close();
      },
      q, go);
  go.push(1);
  EXPECT_EQ(tandem::wait_any(std::tie(rx, q)), 1U);
  EXPECT_EQ(q.pop(), 2);
  tx.send(3);
  EXPECT_EQ(tandem::wait_any(std::tie(q, rx)), 1U);
  rx.receive();
  go.push(1);
  EXPECT_EQ(tandem::wait_any(std::tie(q, rx)), 0U);
  EXPECT_EQ(q.pop(), std::nullopt);
  u.get();
  std::vector<queue<int>> many(3, q);
  EXPECT_TRUE(tandem::wait_any(many, 0ms));
}

}  // namespace
