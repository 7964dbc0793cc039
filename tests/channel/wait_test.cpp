// wait_any: everything that can be waited for, one by one and mixed.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <list>
#include <set>
#include <thread>

#include "channel/samples.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::make_duplex;
using tandem::make_pipe;
using tandem::wait_any;
using tandem::test::bytes;

template <class Unit>
class waits : public tandem::test::checked {};
TYPED_TEST_SUITE(waits, tandem::test::both, tandem::test::unit_names);
class wait_test : public tandem::test::checked {};

TYPED_TEST(waits, for_a_message_or_the_end_of_a_unit) {
  auto [rx, tx] = make_pipe<int>();
  auto [go_rx, go_tx] = make_pipe<int>();
  auto u = TypeParam::start(
      [](const tandem::sender<int>& out, const tandem::receiver<int>& go) {
        out.send(1);
        go.receive();
      },
      tx, go_rx);
  EXPECT_EQ(wait_any(std::tie(rx, u)), 0U);
  EXPECT_EQ(rx.receive(), 1);
  EXPECT_EQ(wait_any(std::tie(rx, u), 0s), std::nullopt);
  EXPECT_EQ(wait_any(std::tie(u, rx), 2ms), std::nullopt);
  EXPECT_EQ(wait_any(std::tie(u, rx), -1s), std::nullopt);
  go_tx.send(1);
  EXPECT_EQ(wait_any(std::tie(rx, u)), 1U);
  u.join();
  EXPECT_EQ(wait_any(std::tie(rx, u)), 1U);
  tx.close();  // the unit's copy has gone with it
  u = {};
  EXPECT_EQ(wait_any(std::tie(rx)), 0U);
  EXPECT_FALSE(rx.receive());
}

TYPED_TEST(waits, for_each_of_many_units) {
  std::vector<typename TypeParam::template unit<int>> all;
  auto [rx, tx] = make_pipe<int>();
  for (int i = 0; i < 12; ++i) {
    all.push_back(TypeParam::start([](const tandem::receiver<int>& in) { return in.receive().value(); }, rx));
  }
  int sum = 0;
  for (int i = 0; i < 12; ++i) {
    tx.send(i);
    const std::size_t which = wait_any(all);
    sum += all.at(which).get();
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(which));
  }
  EXPECT_EQ(sum, 66);
}

TEST_F(wait_test, everything_mixed_is_ready_at_once) {
  auto [rx, tx] = make_pipe<int>();
  auto [a, b] = make_duplex<int, int>();
  tandem::process p([] {});
  tandem::thread t([] {});
  std::array<int, 2> raw{};
  ASSERT_EQ(::pipe2(raw.data(), O_CLOEXEC), 0);
  const tandem::file_descriptor reader(raw[0]);
  const tandem::file_descriptor writer(raw[1]);
  int number = reader.get();
  EXPECT_EQ(wait_any(std::tie(rx, a, reader, number), 0s), std::nullopt);
  tx.send(1);
  b.send(1);
  ASSERT_EQ(::write(raw[1], "x", 1), 1);
  p.join();
  t.join();
  std::array<int, 6> seen{};
  for (int i = 0; i < 24; ++i) ++seen.at(wait_any(std::tie(rx, a, p, t, reader, number)));
  for (const int count : seen) EXPECT_EQ(count, 4);  // fair
}

TEST_F(wait_test, is_fair_among_those_that_are_always_ready) {
  std::vector<tandem::receiver<int>> all;
  std::vector<tandem::sender<int>> senders;
  for (int i = 0; i < 7; ++i) {
    auto [rx, tx] = make_pipe<int>();
    for (int n = 0; n < 10; ++n) tx.send(n);
    all.push_back(std::move(rx));
    senders.push_back(std::move(tx));
  }
  std::array<int, 7> taken{};
  for (int i = 0; i < 35; ++i) {
    const std::size_t which = wait_any(all);
    EXPECT_TRUE(all[which].receive_for(0s));
    ++taken.at(which);
  }
  for (const int count : taken) EXPECT_EQ(count, 5);
}

TEST_F(wait_test, is_fair_also_where_two_sets_take_turns) {
  auto [rx, tx] = make_pipe<int>();
  auto [rx2, tx2] = make_pipe<int>();
  auto [other, other_tx] = make_pipe<int>();
  tx.close();
  tx2.close();
  other_tx.close();
  std::array<int, 2> seen{};
  for (int i = 0; i < 20; ++i) {
    ++seen.at(wait_any(std::tie(rx, rx2)));
    EXPECT_EQ(wait_any(std::tie(other)), 0U);
  }
  EXPECT_GE(seen[0], 5);
  EXPECT_GE(seen[1], 5);
}

TEST_F(wait_test, ready_is_also_what_ended_or_was_closed) {
  auto [rx, tx] = make_pipe<int>();
  auto [other_rx, other_tx] = make_pipe<int>();
  tx.close();
  EXPECT_EQ(wait_any(std::tie(other_rx, rx)), 1U);
  rx.close();
  EXPECT_EQ(wait_any(std::tie(other_rx, rx)), 1U);
  tandem::process<void> no_process;
  tandem::thread<void> no_thread;
  EXPECT_EQ(wait_any(std::tie(other_rx, no_process)), 1U);
  EXPECT_EQ(wait_any(std::tie(other_rx, no_thread)), 1U);
}

TEST_F(wait_test, what_cannot_be_waited_for_is_refused) {
  const int none = -1;
  EXPECT_THROW(wait_any(std::tie(none), 0s), std::invalid_argument);
  const tandem::file_descriptor empty;
  EXPECT_THROW(wait_any(std::tie(empty)), std::invalid_argument);
  tandem::file_descriptor file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const int number = file.get();
  file = {};
  EXPECT_THROW(wait_any(std::tie(number)), std::invalid_argument);
  std::vector<tandem::receiver<int>> nothing;
  EXPECT_THROW(wait_any(nothing), std::invalid_argument);
  EXPECT_EQ(wait_any(nothing, 1ms), std::nullopt);
}

TEST_F(wait_test, ranges_of_all_kinds) {
  std::list<tandem::receiver<int>> all;
  auto [rx, tx] = make_pipe<int>();
  auto [rx2, tx2] = make_pipe<int>();
  all.push_back(rx);
  all.push_back(rx2);
  const auto& view = all;
  EXPECT_EQ(wait_any(view, 0s), std::nullopt);
  tx2.send(1);
  EXPECT_EQ(wait_any(view), 1U);
  std::array<int, 2> numbers{rx.native_handle(), rx2.native_handle()};
  EXPECT_EQ(wait_any(numbers), 1U);
}

/// A view that makes what it gives. (Those of <ranges> are not for clang 14.)
template <class Make>
struct made_view {
  struct iterator {
    const std::vector<tandem::pipe_ends<int>>& of;
    Make make;
    std::size_t at;
    decltype(auto) operator*() const { return make(of[at]); }
    iterator& operator++() {
      ++at;
      return *this;
    }
    bool operator==(const iterator& other) const { return at == other.at; }
  };
  const std::vector<tandem::pipe_ends<int>>& of;
  Make make;
  iterator begin() const { return {of, make, 0}; }
  iterator end() const { return {of, make, of.size()}; }
};
template <class Make>
made_view<Make> view_of(const std::vector<tandem::pipe_ends<int>>& of, Make make) {
  return {of, make};
}

// What it gives is there only while it is looked at.
TEST_F(wait_test, views_that_make_what_they_give) {
  std::vector<tandem::pipe_ends<int>> all;
  for (int i = 0; i < 4; ++i) all.push_back(make_pipe<int>());
  all[2].tx.send(5);
  for (int i = 0; i < 8; ++i) {
    auto numbers = view_of(all, [](const auto& e) { return e.rx.native_handle(); });
    EXPECT_EQ(wait_any(numbers), 2U);
    EXPECT_EQ(wait_any(view_of(all, [](const auto& e) { return e.rx; }), 20s), 2U);
    EXPECT_EQ(wait_any(view_of(
                  all, [](const auto& e) -> auto& { return e.rx; })),
              2U);
  }
  EXPECT_EQ(wait_any(std::vector{all[2].rx}), 0U);
}

TEST_F(wait_test, more_handles_than_there_may_be_descriptors) {
  constexpr std::size_t count = 300;
  auto [rx, tx] = make_pipe<int>();
  auto [other_rx, other_tx] = make_pipe<int>();
  const std::vector copies(count, rx);
  std::vector<int> numbers(count, other_rx.native_handle());
  numbers[7] = rx.native_handle();
  const std::vector<tandem::thread<void>> ended(count);
  const std::vector<tandem::receiver<int>> closed(count);
  struct rlimit before {};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const struct rlimit few { 100, before.rlim_max };
  ::setrlimit(RLIMIT_NOFILE, &few);
  EXPECT_EQ(wait_any(copies, 1ms), std::nullopt);
  tx.send(1);
  std::set<std::size_t> seen;
  for (std::size_t i = 0; i < count; ++i) {
    seen.insert(wait_any(copies));
    EXPECT_EQ(wait_any(numbers), 7U);
    wait_any(ended);
    wait_any(closed);
  }
  EXPECT_GE(seen.size(), count / 5);  // the other calls take their turns too
  numbers.assign(count, 99);          // none that is open
  EXPECT_THROW(wait_any(numbers), std::invalid_argument);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(wait_test, more_descriptors_than_the_limit_is_now_are_refused_with_a_reason) {
  std::vector<tandem::pipe_ends<int>> all;
  for (int i = 0; i < 20; ++i) all.push_back(make_pipe<int>());
  struct rlimit before {};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const struct rlimit few { 10, before.rlim_max };
  ::setrlimit(RLIMIT_NOFILE, &few);
  try {
    wait_any(view_of(
                 all, [](const auto& e) -> auto& { return e.rx; }),
             1ms);
    ADD_FAILURE() << "waited";
  } catch (const tandem::resource_exhausted& e) {
    EXPECT_NE(std::string(e.what()).find("RLIMIT_NOFILE"), std::string::npos) << e.what();
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(wait_test, a_message_that_was_begun_is_ready_when_it_is_whole) {
  auto [rx, tx] = make_pipe<bytes>();
  auto [other_rx, other_tx] = make_pipe<int>();
  const bytes large = tandem::test::pattern(4_MiB);
  tandem::thread t([&out = tx, &large] { out.send(large); });
  EXPECT_EQ(wait_any(std::tie(rx, other_rx)), 0U);
  auto got = rx.receive_for(0s);
  while (!got) {
    EXPECT_EQ(wait_any(std::tie(rx, other_rx)), 0U);
    got = rx.receive_for(0s);
    EXPECT_TRUE(got);
  }
  EXPECT_TRUE(*got == large);
  t.get();
}

TEST_F(wait_test, two_thousand_pipes) {
  constexpr std::size_t count = 2000;
  std::vector<tandem::receiver<std::size_t>> all;
  std::vector<tandem::sender<std::size_t>> senders;
  for (std::size_t i = 0; i < count; ++i) {
    auto [rx, tx] = make_pipe<std::size_t>();
    all.push_back(std::move(rx));
    senders.push_back(std::move(tx));
  }
  for (std::size_t i = 0; i < count; i += 37) {
    senders[i].send(i);
    EXPECT_EQ(wait_any(all), i);
    EXPECT_EQ(all[i].receive(), i);
  }
  EXPECT_EQ(wait_any(all, 0s), std::nullopt);
}

TEST_F(wait_test, signals_do_not_disturb) {
  struct sigaction action {};
  struct sigaction before {};
  static std::atomic<int> heard{0};
  heard = 0;
  action.sa_handler = [](int) { heard.fetch_add(1); };
  ::sigaction(SIGUSR1, &action, &before);
  auto [rx, tx] = make_pipe<int>();
  const pthread_t self = ::pthread_self();
  tandem::thread t([&, &out = tx] {
    for (int i = 0; i < 1000; ++i) {
      ::pthread_kill(self, SIGUSR1);
      std::this_thread::yield();
    }
    out.send(1);
  });
  EXPECT_EQ(wait_any(std::tie(rx)), 0U);
  EXPECT_GT(heard.load(), 0);
  t.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(wait_test, several_threads_wait_for_one) {
  auto [rx, tx] = make_pipe<int>();
  tandem::thread worker([in = rx] { in.receive(); });
  std::vector<tandem::thread<std::size_t>> waiters;
  for (int i = 0; i < 4; ++i) waiters.emplace_back([&] { return wait_any(std::tie(worker)); });
  tx.send(1);
  for (auto& w : waiters) EXPECT_EQ(w.get(), 0U);
}

}  // namespace
