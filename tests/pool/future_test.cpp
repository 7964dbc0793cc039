// Futures: what is called when they are ready, coroutines, several of them.
#include <atomic>
#include <future>
#include <thread>

#include <tandem/coroutine.hpp>
#include <tandem/observe.hpp>
#include <tandem/pipe.hpp>
#include <tandem/thread_pool.hpp>
#include <tandem/wait.hpp>

#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;

class futures : public tandem::test::checked {
 protected:
  tandem::thread_pool pool{2};

  /// A task that ends when it is told to.
  struct held {
    std::shared_ptr<std::promise<int>> end = std::make_shared<std::promise<int>>();
    tandem::future<int> result = {};
    void give(int n) const { end->set_value(n); }
  };
  held hold() {
    held h;
    h.result = pool.submit([end = h.end] { return end->get_future().get(); });
    return h;
  }
};

int square(int n) { return n * n; }

TEST_F(futures, then_gives_a_future_of_what_follows) {
  auto h = hold();
  auto next = h.result.then(square).then([](int n) { return std::to_string(n); });
  EXPECT_FALSE(h.result.valid());
  EXPECT_FALSE(next.ready());
  h.give(5);
  EXPECT_EQ(next.get(), "25");
  auto ready = pool.submit(square, 3);
  ready.wait();
  EXPECT_EQ(ready.then(square).get(), 81);
  pool.submit([] {}).then([] {}).get();
}

TEST_F(futures, then_passes_failures_on) {
  bool called = false;
  auto f = pool.submit([]() -> int { throw std::domain_error("first"); }).then([&](int n) {
    called = true;
    return n;
  });
  EXPECT_THROW(f.get(), std::domain_error);
  EXPECT_FALSE(called);
  auto own = pool.submit(square, 2).then([](int) -> int { throw std::range_error("second"); });
  EXPECT_THROW(own.get(), std::range_error);
}

TEST_F(futures, cancelling_what_follows_cancels_what_it_follows) {
  tandem::thread_pool one(1);
  std::promise<void> go;
  auto busy = one.submit([&] { go.get_future().wait(); });
  bool ran = false;
  auto f = one.submit([&ran] {
                ran = true;
                return 1;
              })
               .then(square);
  EXPECT_TRUE(f.cancel());
  EXPECT_THROW(f.get(), tandem::cancelled);
  go.set_value();
  one.wait();
  EXPECT_FALSE(ran);
}

TEST_F(futures, on_ready_is_called_however_it_ends) {
  std::promise<void> value, error, again;
  auto a = pool.submit(square, 2);
  a.on_ready([&] { value.set_value(); });
  value.get_future().wait();
  EXPECT_EQ(a.get(), 4);
  pool.submit([]() -> int { throw 1; }).on_ready([&] { error.set_value(); });
  error.get_future().wait();
  auto b = pool.submit(square, 3);
  b.wait();
  b.on_ready([&] { again.set_value(); });
  again.get_future().wait();
}

TEST_F(futures, a_callback_that_throws_is_logged_and_harms_nothing) {
  std::promise<std::string> logged;
  tandem::on_log([&](tandem::log_level, std::string_view text) { logged.set_value(std::string(text)); });
  auto h = hold();
  std::promise<void> second;
  h.result.on_ready([&] { second.set_value(); });
  h.result.on_ready([] { throw std::runtime_error("a bad callback"); });
  h.give(1);
  EXPECT_THAT(logged.get_future().get(), testing::HasSubstr("a bad callback"));
  second.get_future().wait();
  tandem::on_log({});
  EXPECT_EQ(h.result.get(), 1);
  EXPECT_EQ(pool.submit(square, 2).then(square).get(), 16);
}

tandem::future<int> sum_of_squares(tandem::thread_pool& pool, int n) {
  int sum = 0;
  for (int i = 1; i <= n; ++i) sum += co_await pool.submit(square, i);
  co_return sum;
}
tandem::future<void> pass_on(tandem::future<int> f, int& to) { to = co_await f; }

TEST_F(futures, coroutines_wait_for_them) {
  EXPECT_EQ(sum_of_squares(pool, 10).get(), 385);
  auto h = hold();
  int got = 0;
  auto done = pass_on(std::move(h.result), got);
  EXPECT_FALSE(done.ready());
  h.give(12);
  done.get();
  EXPECT_EQ(got, 12);
  EXPECT_THROW(pass_on(pool.submit([]() -> int { throw std::domain_error("no"); }), got).get(), std::domain_error);
}

int wait_for_a_stop(std::stop_token stop) {
  while (!stop.stop_requested()) std::this_thread::yield();
  return 7;
}
tandem::future<int> wait_for_two(tandem::thread_pool& pool, tandem::future<int> first, std::atomic<int>& reached) {
  const int one = co_await first;
  reached = 1;
  co_return one + co_await pool.submit(wait_for_a_stop);
}

TEST_F(futures, a_cancelled_coroutine_cancels_what_it_waits_for) {
  std::atomic<int> reached{0};
  auto h = hold();
  auto both = wait_for_two(pool, std::move(h.result), reached);
  while (pool.stats().running == 0) std::this_thread::yield();
  // The first runs, and cannot be stopped: what it gives stands, and the second is cancelled.
  EXPECT_TRUE(both.cancel());
  h.give(5);
  try {
    EXPECT_EQ(both.get(), 12);
  } catch (const tandem::cancelled&) {  // before it began
  }
  EXPECT_EQ(reached, 1);

  auto running = wait_for_two(pool, pool.submit(square, 2), reached);
  while (pool.stats().running == 0) std::this_thread::yield();
  EXPECT_TRUE(running.cancel());
  try {
    EXPECT_EQ(running.get(), 11);
  } catch (const tandem::cancelled&) {
  }

  auto never = hold();
  int got = 0;
  auto waits = pass_on(std::move(never.result), got);
  never.give(1);
  waits.wait();
  EXPECT_FALSE(waits.cancel());
}

// What a coroutine has waited for goes when it waits for the next, and may ask for anything.
struct canceller {
  explicit canceller(tandem::future<int>*& f) : of(&f) {}
  canceller(canceller&& other) noexcept : of(std::exchange(other.of, nullptr)) {}
  ~canceller() {
    if (of != nullptr) (*of)->cancel();
  }
  tandem::future<int>** of;
};
tandem::future<int> wait_after_a_failure(tandem::thread_pool& pool, std::future<void> go, tandem::future<int>*& own) {
  auto first = pool.submit([&go]() -> int {
                     go.wait();
                     throw std::domain_error("no");
                   })
                   .then([c = canceller(own)](int n) { return n; });
  try {
    co_await std::move(first);
  } catch (const std::domain_error&) {
  }
  co_return co_await pool.submit(wait_for_a_stop);
}

TEST_F(futures, a_coroutine_may_be_cancelled_by_what_it_lets_go) {
  std::promise<void> go;
  tandem::future<int>* own = nullptr;
  auto f = wait_after_a_failure(pool, go.get_future(), own);
  own = &f;
  go.set_value();
  f.wait();
  try {
    EXPECT_EQ(f.get(), 7);
  } catch (const tandem::cancelled&) {
  }
}

TEST_F(futures, wait_for_all) {
  std::vector<tandem::future<int>> all;
  for (int i = 0; i < 10; ++i) all.push_back(pool.submit(square, i));
  tandem::wait_all(all);
  for (auto& f : all) EXPECT_TRUE(f.ready());
  auto h = hold();
  all.push_back(std::move(h.result));
  EXPECT_FALSE(tandem::wait_all(all, 1ms));
  h.give(1);
  EXPECT_TRUE(tandem::wait_all(all, 1h));
}

TEST_F(futures, wait_for_any) {
  std::array<held, 2> tasks{hold(), hold()};
  std::vector<tandem::future<int>> all;
  for (auto& each : tasks) all.push_back(std::move(each.result));
  EXPECT_EQ(tandem::wait_any(all, 1ms), std::nullopt);
  std::thread later([&] { tasks[1].give(3); });
  EXPECT_EQ(tandem::wait_any(all), 1u);
  later.join();
  EXPECT_EQ(tandem::wait_any(all, 0ns), 1u);
  tasks[0].give(1);
  std::vector<tandem::future<int>> none;
  EXPECT_THROW(tandem::wait_any(none), std::invalid_argument);
  EXPECT_EQ(tandem::wait_any(none, 1ms), std::nullopt);
}

TEST_F(futures, come_in_the_order_in_which_they_end) {
  tandem::thread_pool other(1);
  std::array<held, 2> tasks{hold(), hold()};
  std::vector<tandem::future<int>> all;
  for (auto& each : tasks) all.push_back(std::move(each.result));
  all.push_back(other.submit(square, 3));
  all[2].wait();
  std::vector<int> order;
  for (auto& f : tandem::as_completed(all)) {
    order.push_back(f.get());
    if (order.size() == 1) tasks[1].give(2);
    if (order.size() == 2) tasks[0].give(1);
  }
  EXPECT_THAT(order, testing::ElementsAre(9, 2, 1));
}

TEST_F(futures, as_completed_says_how_many_are_late) {
  auto h = hold();
  std::vector<tandem::future<int>> all;
  all.push_back(pool.submit(square, 2));
  all.push_back(std::move(h.result));
  int seen = 0;
  try {
    for (auto& f : tandem::as_completed(all, 20ms)) seen += f.get();
    FAIL();
  } catch (const tandem::timed_out& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("1 of 2"));
  }
  EXPECT_EQ(seen, 4);
  h.give(1);
}

TEST_F(futures, can_be_waited_for_beside_channels) {
  auto [rx, tx] = tandem::make_pipe<int>();
  auto h = hold();
  EXPECT_EQ(tandem::wait_any(std::tie(rx, h.result), 1ms), std::nullopt);
  tx.send(1);
  EXPECT_EQ(tandem::wait_any(std::tie(rx, h.result)), 0u);
  EXPECT_EQ(rx.receive(), 1);
  std::thread later([&] { h.give(1); });
  EXPECT_EQ(tandem::wait_any(std::tie(rx, h.result)), 1u);
  later.join();
}

TEST_F(futures, races_between_ending_and_watching_lose_nothing) {
  for (int round = 0; round < 300; ++round) {
    std::vector<tandem::future<int>> all;
    for (int i = 0; i < 8; ++i) all.push_back(pool.submit(square, i));
    int sum = 0;
    for (auto& f : tandem::as_completed(all)) sum += f.get();
    ASSERT_EQ(sum, 140);
    std::atomic<int> called{0};
    std::vector<tandem::future<int>> followed;
    for (int i = 0; i < 8; ++i) {
      followed.push_back(pool.submit(square, i).then([&called](int n) {
        ++called;
        return n;
      }));
    }
    tandem::wait_all(followed);
    ASSERT_EQ(called, 8);
  }
}

}  // namespace
