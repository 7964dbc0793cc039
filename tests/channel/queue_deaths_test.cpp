// Message queues whose pushers and poppers are killed, or end in the midst of it.
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <tuple>
#include <vector>

#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::queue;

class queue_deaths : public tandem::test::checked {};

// ---- deaths -------------------------------------------------------------------------------------------------------------

void push_for_ever(const queue<int>& q) {
  for (int i = 0;; ++i) q.push(i);
}

/// Takes a message, says so, and is there until it is killed.
void pop_and_stay(const queue<int>& in, const queue<int>& ready) {
  in.pop();
  ready.push(1);
  for (;;) ::pause();
}

TEST_F(queue_deaths, the_death_of_the_last_pusher_ends_it) {
  const queue<int> q(4);
  tandem::process pusher(push_for_ever, q);
  EXPECT_EQ(q.pop(), 0);
  while (q.size() < 4) std::this_thread::yield();
  pusher.kill();
  pusher.join();
  int count = 0;
  try {
    while (q.pop()) ++count;
    ADD_FAILURE() << "it ended as if it was closed";
  } catch (const tandem::closed&) {
  }
  EXPECT_EQ(count, 4);
  EXPECT_THROW(q.try_pop(), tandem::closed);
  EXPECT_THROW(q.pop_for(1s), tandem::closed);
  EXPECT_EQ(tandem::wait_any(std::tie(q)), 0U);
  EXPECT_FALSE(q.is_closed());
  q.push(7);  // this process is a pusher now
  EXPECT_EQ(q.pop(), 7);
  EXPECT_EQ(q.try_pop(), std::nullopt);
}

TEST_F(queue_deaths, the_death_of_one_of_two_pushers_does_not_end_it) {
  const queue<int> q(4), go(1);
  tandem::process other(
      [](const queue<int>& out, const queue<int>& g) {
        out.push(-1);
        g.pop();
        out.push(-2);
      },
      q, go);
  EXPECT_EQ(q.pop(), -1);
  tandem::process pusher(push_for_ever, q);
  EXPECT_EQ(q.pop(), 0);
  pusher.kill();
  pusher.join();
  while (q.try_pop()) {
  }
  EXPECT_EQ(q.pop_for(1ms), std::nullopt);
  go.push(1);
  EXPECT_EQ(q.pop(), -2);
  other.get();  // in order: nothing is closed
  EXPECT_EQ(q.pop_for(1ms), std::nullopt);
}

// While the second is there, the first that was killed is not the last; and then it ends in order.
TEST_F(queue_deaths, a_pusher_that_ends_in_order_after_another_was_killed_closes_nothing) {
  const queue<int> q(4), ready(2), go(2);
  const auto push_one = [](const queue<int>& out, const queue<int>& r, const queue<int>& g) {
    out.push(1);
    r.push(1);
    g.pop();
  };
  tandem::process killed(push_one, q, ready, go), ends(push_one, q, ready, go);
  ready.pop();
  ready.pop();
  killed.kill();
  killed.join();
  go.push(1);
  ends.get();
  EXPECT_EQ(q.pop(), 1);
  EXPECT_EQ(q.pop(), 1);
  EXPECT_EQ(q.pop_for(1ms), std::nullopt);
}

TEST_F(queue_deaths, a_blocked_popper_learns_of_the_death_of_the_last_pusher) {
  const queue<int> q(4), ready(1);
  tandem::process pusher(
      [](const queue<int>& out, const queue<int>& r) {
        out.push(1);
        r.push(1);
        for (;;) ::pause();
      },
      q, ready);
  EXPECT_EQ(q.pop(), 1);
  ready.pop();
  tandem::thread popper([q] { return q.pop(); });
  tandem::thread waiter([q] { return tandem::wait_any(std::tie(q)); });
  pusher.kill();
  EXPECT_THROW(popper.get(), tandem::closed);
  EXPECT_EQ(waiter.get(), 0U);
  pusher.join();
}

TEST_F(queue_deaths, what_a_killed_popper_had_does_not_hold_up_a_join) {
  const queue<int> q(4), ready(1);
  q.push(1);
  q.push(2);
  tandem::process popper(pop_and_stay, q, ready);
  ready.pop();
  EXPECT_EQ(q.pop(), 2);
  q.task_done();
  tandem::thread joiner([q] { q.join(); });
  popper.kill();
  joiner.get();
  popper.join();
}

TEST_F(queue_deaths, each_of_many_poppers_is_known_by_what_it_had) {
  constexpr int count = 80;
  const queue<int> q(count), ready(1);
  std::vector<tandem::process<void>> poppers;
  for (int i = 0; i < count; ++i) {
    poppers.emplace_back(tandem::process_options{.stop_grace = 0s, .kill_grace = 0s}, pop_and_stay, q, ready);
    q.push(i);
    EXPECT_EQ(ready.pop(), 1);
  }
  for (auto& p : poppers) p.kill();
  for (auto& p : poppers) p.join();
  q.join();
}

TEST_F(queue_deaths, what_another_says_to_be_done_is_counted_once) {
  const queue<int> q(4), ready(1);
  q.push(1);
  tandem::process popper(pop_and_stay, q, ready);
  ready.pop();
  q.task_done();
  q.push(2);
  popper.kill();
  popper.join();
  std::atomic<bool> joined = false;
  tandem::thread joiner([&, q] {
    q.join();
    joined = true;
  });
  EXPECT_EQ(q.stats().popped, 1U);
  EXPECT_FALSE(joined);
  EXPECT_EQ(q.pop(), 2);
  EXPECT_FALSE(joined);
  q.task_done();
  joiner.get();
  EXPECT_TRUE(joined);
}

TEST_F(queue_deaths, an_end_with_a_loan_or_a_view_gives_it_up) {
  const queue<int> q(2);
  tandem::process leaver(
      [](const queue<int>& out) {
        auto* kept = new tandem::queue_loan<int>(out.loan());
        static_cast<void>(kept);
        ::_exit(0);
      },
      q);
  leaver.join();
  q.push(5);
  EXPECT_EQ(q.pop(), 5);
  EXPECT_EQ(q.stats().torn, 1U);
  tandem::process viewer(
      [](const queue<int>& in) {
        auto* kept = new auto(in.view());
        static_cast<void>(kept);
        std::exit(0);
      },
      q);
  q.push(6);
  viewer.join();
  q.push(7);
  q.push(8);
  EXPECT_EQ(q.pop(), 7);
  EXPECT_EQ(q.pop(), 8);
  EXPECT_EQ(q.stats().lost, 1U);
  EXPECT_EQ(q.stats().popped, 3U);
}

}  // namespace
