// Pipes and duplex pipes, between threads and between processes.

#include <map>
#include <numeric>

#include "channel/samples.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::connection;
using tandem::make_duplex;
using tandem::make_pipe;
using tandem::receiver;
using tandem::sender;

using tandem::test::bytes;
using tandem::test::pattern;
using tandem::test::view;

template <class Unit>
class pipes : public tandem::test::checked {};
TYPED_TEST_SUITE(pipes, tandem::test::both, tandem::test::unit_names);
class pipe_ends : public tandem::test::checked {};

struct person {
  std::string name;
  std::vector<int> scores;
  std::optional<std::map<std::string, double>> extra;
  bool operator==(const person&) const = default;
};

// ---- values -------------------------------------------------------------------------------------------------------

TYPED_TEST(pipes, carry_values_in_order_then_end) {
  auto [rx, tx] = make_pipe<person>();
  auto u = TypeParam::start(
      [](const sender<person>& out) {
        for (int i = 0; i < 100; ++i)
          out.send({std::to_string(i), std::vector<int>(static_cast<std::size_t>(i), i), {}});
      },
      std::move(tx));
  tx.close();
  for (int i = 0; i < 100; ++i) {
    const auto got = rx.receive();
    ASSERT_TRUE(got);
    EXPECT_EQ(*got, (person{std::to_string(i), std::vector<int>(static_cast<std::size_t>(i), i), {}}));
  }
  u.join();
  EXPECT_FALSE(rx.receive());
  EXPECT_FALSE(rx.receive());
  EXPECT_THROW(rx.receive_for(1s), tandem::closed);
  EXPECT_TRUE(rx.poll());
  u.get();
}

TYPED_TEST(pipes, duplex_ones_go_both_ways) {
  auto [here, there] = make_duplex<int, std::string>();
  auto u = TypeParam::start(
      [](const connection<std::string, int>& c) {
        int count = 0;
        while (const auto n = c.receive()) {
          c.send(std::string(static_cast<std::size_t>(*n), 'x'));
          ++count;
        }
        return count;
      },
      std::move(there));
  there.close();
  for (int n = 0; n < 50; ++n) {
    here.send(n);
    EXPECT_EQ(here.receive(), std::string(static_cast<std::size_t>(n), 'x'));
  }
  here.close();
  EXPECT_EQ(u.get(), 50);
}

// Sizes around every border: of the packet, of the kernel's buffers, of what grows.
TYPED_TEST(pipes, carry_any_size) {
  auto [here, there] = make_duplex<bytes, bytes>();
  auto u = TypeParam::start(
      [](const connection<bytes, bytes>& c) {
        while (auto got = c.receive_bytes()) c.send_bytes(*got);
      },
      std::move(there));
  there.close();
  for (const std::size_t size : {0UL, 1UL, 8UL, 4096UL, 64_KiB - 1, 64_KiB, 64_KiB + 1, 200_KiB, 256_KiB + 7, 1_MiB,
                                 1_MiB + 4_KiB, 1_MiB + 4_KiB + 1, 16_MiB}) {
    const bytes sent = pattern(size);
    here.send_bytes(sent);
    const auto got = here.receive_bytes();
    ASSERT_TRUE(got);
    EXPECT_TRUE(*got == sent) << size;
  }
  here.close();
  u.get();
}

template <class T>
T echoed(const T& value) {
  auto [rx, tx] = make_pipe<T>();
  tandem::thread t([&out = tx, &value] { out.send(value); });
  auto got = rx.receive();
  t.get();
  if (!got) throw std::runtime_error("nothing came");
  return std::move(*got);
}

TEST_F(pipe_ends, carry_large_values_of_all_kinds) {
  std::vector<double> numbers(300'001);
  std::iota(numbers.begin(), numbers.end(), 0.5);
  EXPECT_TRUE(echoed(numbers) == numbers);
  const std::string text(200'000, 't');
  EXPECT_TRUE(echoed(text) == text);
  const std::u16string wide(100'000, u'w');
  EXPECT_TRUE(echoed(wide) == wide);
  struct odd {
    std::array<char, 7> bytes;
    bool operator==(const odd&) const = default;
  };
  std::vector<odd> odds(70'001, odd{{'a', 'b', 'c', 'd', 'e', 'f', 'g'}});
  EXPECT_TRUE(echoed(odds) == odds);
  const std::vector<std::string> words(20'000, "eleven bytes");
  EXPECT_TRUE(echoed(words) == words);
  EXPECT_TRUE(echoed(std::vector<bool>(1'000'000, true)) == std::vector<bool>(1'000'000, true));
}

TEST_F(pipe_ends, an_empty_message_is_a_message) {
  auto [rx, tx] = make_pipe<std::string>();
  EXPECT_FALSE(rx.poll());
  tx.send_bytes({});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rx.poll());
  EXPECT_EQ(rx.receive_bytes(), bytes());
  EXPECT_FALSE(rx.poll());
  tx.send("");
  EXPECT_EQ(rx.receive(), "");
}

TEST_F(pipe_ends, messages_are_not_merged) {
  auto [rx, tx] = make_pipe<std::string>();
  for (const char* word : {"a", "b", "cd"}) tx.send_bytes(view(word));
  for (const std::size_t size : {1U, 1U, 2U}) {
    EXPECT_TRUE(rx.poll());
    EXPECT_TRUE(rx.poll());
    EXPECT_EQ(rx.receive_bytes()->size(), size);
  }
  EXPECT_FALSE(rx.poll());
}

TEST_F(pipe_ends, bytes_and_values_are_the_same_messages) {
  auto [rx, tx] = make_pipe<std::vector<int>>();
  tx.send({1, 2, 3});
  EXPECT_EQ(tandem::decode<std::vector<int>>(*rx.receive_bytes()), (std::vector<int>{1, 2, 3}));
  tx.send_bytes(tandem::encode(std::vector<int>{4}));
  EXPECT_EQ(rx.receive(), (std::vector<int>{4}));
}

TEST_F(pipe_ends, bytes_that_are_no_value_cost_one_message) {
  auto [rx, tx] = make_pipe<std::string>();
  const bytes large = pattern(100_KiB);
  tx.send_bytes(view("no string"));
  tandem::thread t([&out = tx, &large] { out.send_bytes(large); });
  EXPECT_THROW(rx.receive(), tandem::decode_error);
  EXPECT_THROW(rx.receive(), tandem::decode_error);
  t.get();
  tx.send("fine");
  EXPECT_EQ(rx.receive(), "fine");
}

TEST_F(pipe_ends, receive_into_memory_of_the_callers) {
  auto [rx, tx] = make_pipe<std::string>();
  bytes memory(100_KiB);
  for (const std::size_t room : {1000UL, 1_KiB, 1_KiB + 1, 100_KiB}) {
    for (const std::size_t size : {0UL, 10UL, 1000UL, 1001UL, 1_KiB, 1_KiB + 1, 64_KiB, 64_KiB + 1, 100_KiB}) {
      if (size > room) continue;
      const bytes sent = pattern(size);
      tandem::thread t([&out = tx, &sent] { out.send_bytes(sent); });
      memory.assign(memory.size(), std::byte{0xEE});
      EXPECT_EQ(rx.receive_bytes_into(std::span(memory).first(room)), size);
      EXPECT_TRUE(std::equal(sent.begin(), sent.end(), memory.begin()));
      EXPECT_EQ(std::count(memory.begin() + static_cast<std::ptrdiff_t>(size), memory.end(), std::byte{0xEE}),
                static_cast<std::ptrdiff_t>(memory.size() - size));
      t.get();
    }
  }
  tx.close();
  EXPECT_FALSE(rx.receive_bytes_into(memory));
}

TEST_F(pipe_ends, a_message_that_does_not_fit_is_kept) {
  auto [rx, tx] = make_pipe<std::string>();
  bytes room(2000);
  for (const std::size_t size : {2001UL, 64_KiB, 70_KiB, 1_MiB}) {
    const bytes sent = pattern(size);
    tandem::thread t([&out = tx, &sent] {
      out.send_bytes(sent);
      out.send_bytes({});
    });
    for (const auto part : {std::span(room), std::span(room).first(16), std::span(room).first(0)}) {
      try {
        rx.receive_bytes_into(part);
        ADD_FAILURE() << size << " bytes fitted into " << part.size();
      } catch (const std::length_error& e) {
        EXPECT_NE(std::string(e.what()).find(std::to_string(size)), std::string::npos) << e.what();
      }
    }
    EXPECT_TRUE(rx.poll(20s));
    EXPECT_TRUE(rx.receive_bytes() == sent);
    EXPECT_EQ(rx.receive_bytes(), bytes());
    t.get();
  }
}

// A receiver looks ahead for where a large message goes; another one may take it, and the next is of another size.
TEST_F(pipe_ends, large_and_small_messages_for_many_receivers) {
  auto [rx, tx] = make_pipe<std::vector<std::uint32_t>>();
  constexpr std::array<std::uint32_t, 7> counts{1, 17'000, 70'000, 0, 70'001, 260'000, 300'000};
  constexpr std::uint32_t messages = 210;
  std::vector<tandem::thread<void>> senders;
  for (int s = 0; s < 2; ++s) {
    senders.emplace_back([&counts, out = tx] {
      for (std::uint32_t i = 0; i < messages; ++i) {
        const std::uint32_t count = counts.at(i % counts.size());
        out.send(std::vector<std::uint32_t>(count, count));
      }
    });
  }
  tx.close();
  std::vector<tandem::thread<std::uint32_t>> receivers;
  for (int r = 0; r < 3; ++r) {
    receivers.emplace_back([r, in = rx] {
      std::uint32_t taken = 0;
      for (;; ++taken) {
        if (r == 0) {
          const auto raw = in.receive_bytes();
          if (!raw) return taken;
          const auto value = tandem::decode<std::vector<std::uint32_t>>(*raw);
          EXPECT_TRUE(std::all_of(value.begin(), value.end(), [&](std::uint32_t n) { return n == value.size(); }));
        } else {
          const auto value = in.receive();
          if (!value) return taken;
          EXPECT_TRUE(std::all_of(value->begin(), value->end(), [&](std::uint32_t n) { return n == value->size(); }));
        }
      }
    });
  }
  std::uint32_t taken = 0;
  for (auto& r : receivers) taken += r.get();
  EXPECT_EQ(taken, 2 * messages);
}

// ---- time ---------------------------------------------------------------------------------------------------------

TEST_F(pipe_ends, wait_no_longer_than_told) {
  auto [rx, tx] = make_pipe<int>();
  EXPECT_FALSE(rx.receive_for(0s));
  EXPECT_FALSE(rx.receive_for(-1s));
  EXPECT_FALSE(rx.receive_for(2ms));
  EXPECT_FALSE(rx.poll(-1s));
  EXPECT_FALSE(rx.poll(2ms));
  tx.send(4);
  EXPECT_TRUE(rx.poll(tandem::nanoseconds::max()));
  EXPECT_EQ(rx.receive_for(tandem::nanoseconds::max()), 4);
  tx.send(5);
  EXPECT_EQ(rx.receive_for(0s), 5);
  tx.close();
  EXPECT_THROW(rx.receive_for(tandem::nanoseconds::max()), tandem::closed);
}

TEST_F(pipe_ends, a_full_pipe_takes_nothing) {
  auto [rx, tx] = make_pipe<bytes>();
  const bytes block = pattern(10'000);
  std::size_t sent = 0;
  while (tx.try_send(block)) ++sent;
  EXPECT_GT(sent, 1U);
  EXPECT_FALSE(tx.try_send(block));
  EXPECT_FALSE(tx.send_for(block, 2ms));
  const bytes large = pattern(1_MiB);  // for the first of which the pipe may be made larger
  std::size_t sent_large = 0;
  while (tx.try_send(large)) ++sent_large;
  EXPECT_LT(sent_large, 10U);
  EXPECT_FALSE(tx.send_for(large, 2ms));
  EXPECT_FALSE(tx.try_send(block));
  for (std::size_t i = 0; i < sent; ++i) EXPECT_TRUE(rx.receive_for(0s) == block);
  for (std::size_t i = 0; i < sent_large; ++i) EXPECT_TRUE(rx.receive_for(0s) == large);
  EXPECT_FALSE(rx.receive_for(0s));
  EXPECT_TRUE(tx.try_send(block));
}

// Those in memory of their own too.
TEST_F(pipe_ends, a_pipe_is_full_of_large_messages_too) {
  auto [rx, tx] = make_pipe<bytes>();
  const bytes large = pattern(3_MiB);
  std::size_t sent = 0;
  while (tx.try_send(large)) ++sent;
  EXPECT_GT(sent, 0U);
  EXPECT_LT(sent, 30U);
  EXPECT_FALSE(tx.send_for(large, 2ms));
  for (std::size_t i = 0; i < sent; ++i) EXPECT_TRUE(rx.receive_for(0s) == large);
  EXPECT_FALSE(rx.receive_for(0s));
  EXPECT_TRUE(tx.send_for(large, 1s));
  bytes little(10);
  EXPECT_THROW(rx.receive_bytes_into(little), std::length_error);
  bytes room(3_MiB + 8);
  EXPECT_EQ(rx.receive_bytes_into(room), 3_MiB + 8);
  EXPECT_TRUE(std::equal(large.begin(), large.end(), room.begin() + 8));
}

TEST_F(pipe_ends, a_large_message_that_must_not_wait_is_whole) {
  auto [rx, tx] = make_pipe<bytes>();
  const bytes large = pattern(3_MiB);
  EXPECT_TRUE(tx.try_send(large));
  EXPECT_TRUE(tx.send_for(large, 1s));
  tx.close();
  EXPECT_TRUE(rx.receive_for(0s) == large);
  bytes room(3_MiB + 8);
  EXPECT_EQ(rx.receive_bytes_into(room), 3_MiB + 8);  // a count, and the elements
  EXPECT_TRUE(std::equal(large.begin(), large.end(), room.begin() + 8));
  EXPECT_FALSE(rx.receive());
}

TEST_F(pipe_ends, a_large_message_that_comes_slowly_is_kept) {
  auto [rx, tx] = make_pipe<bytes>();
  const bytes large = pattern(2_MiB);
  tandem::thread t([&out = tx, &large] { out.send(large); });
  std::optional<bytes> got;
  int tries = 0;
  while (!(got = rx.receive_for(0s))) ++tries;
  EXPECT_TRUE(*got == large) << tries;
  t.get();
}

// ---- who is there -------------------------------------------------------------------------------------------------

TYPED_TEST(pipes, a_sender_without_receivers_is_told) {
  auto [rx, tx] = make_pipe<bytes>();
  auto u = TypeParam::start([](receiver<bytes> in) { in.receive(); }, std::move(rx));
  rx.close();
  tx.send(bytes(1));
  u.join();
  u = {};
  EXPECT_THROW(tx.send(bytes(1)), tandem::broken_connection);
  EXPECT_THROW(tx.try_send(bytes(1)), tandem::broken_connection);
  EXPECT_THROW(tx.send(bytes(1_MiB)), tandem::broken_connection);
  EXPECT_THROW(tx.send_for(bytes(1_MiB), 1s), tandem::broken_connection);
}

TEST_F(pipe_ends, a_sender_that_waits_learns_that_nobody_is_left) {
  for (const std::size_t size : {1_KiB, 10_MiB}) {
    auto [rx, tx] = make_pipe<bytes>();
    tandem::thread t([&out = tx, size] {
      const bytes block(size);
      for (;;) out.send(block);
    });
    EXPECT_TRUE(rx.poll(20s));
    rx.close();
    EXPECT_THROW(t.get(), tandem::broken_connection);
  }
}

TEST_F(pipe_ends, a_closed_end_says_so) {
  auto [rx, tx] = make_pipe<int>();
  EXPECT_GE(rx.native_handle(), 0);
  rx.close();
  rx.close();
  EXPECT_EQ(rx.native_handle(), -1);
  EXPECT_THROW(rx.receive(), tandem::closed);
  EXPECT_THROW(rx.receive_for(1s), tandem::closed);
  EXPECT_THROW(rx.poll(), tandem::closed);
  EXPECT_THROW(rx.receive_bytes(), tandem::closed);
  const sender<int> other = std::move(tx);
  EXPECT_THROW(tx.send(1), tandem::closed);
  EXPECT_THROW(other.send(1), tandem::broken_connection);
  connection<int, int> none;
  EXPECT_THROW(none.send(1), tandem::closed);
  EXPECT_THROW(none.receive(), tandem::closed);
}

TEST_F(pipe_ends, a_copy_is_one_more_holder) {
  auto [rx, tx] = make_pipe<int>();
  auto copy = tx;
  tx.close();
  copy.send(1);
  EXPECT_EQ(rx.receive(), 1);
  EXPECT_FALSE(rx.poll());
  tandem::process p([](const sender<int>& out) { out.send(2); }, copy);
  copy.close();
  EXPECT_EQ(rx.receive(), 2);
  p.join();
  EXPECT_FALSE(rx.receive());
}

TEST_F(pipe_ends, what_was_sent_arrives_after_the_sender_has_gone) {
  auto [here, there] = make_duplex<int, int>();
  there.send(1);
  here.send(7);  // is never read: that must not harm what the other one sent
  there.send(2);
  there.close();
  EXPECT_EQ(here.receive(), 1);
  EXPECT_EQ(here.receive(), 2);
  EXPECT_FALSE(here.receive());
  EXPECT_THROW(here.send(1), tandem::broken_connection);
}

// ---- many ---------------------------------------------------------------------------------------------------------

struct numbered {
  int who = 0;
  int number = 0;
  bytes load;
};

TYPED_TEST(pipes, any_number_send_into_one) {
  auto [rx, tx] = make_pipe<numbered>();
  constexpr int senders = 6;
  constexpr int each = 60;
  std::vector<typename TypeParam::template unit<void>> all;
  for (int who = 0; who < senders; ++who) {
    all.push_back(TypeParam::start(
        [](const sender<numbered>& out, int me) {
          for (int i = 0; i < each; ++i) {
            // Every size class, so that packets and streams meet.
            const std::size_t size = i % 3 == 0 ? 10 : i % 3 == 1 ? 5000 : 150'000;
            out.send({me, i, bytes(size, static_cast<std::byte>(me * 16 + i % 16))});
          }
        },
        tx, who));
  }
  tx.close();
  std::array<int, senders> next{};
  while (const auto m = rx.receive()) {
    EXPECT_EQ(m->number, next.at(static_cast<std::size_t>(m->who))++);
    EXPECT_TRUE(std::all_of(m->load.begin(), m->load.end(),
                            [&](std::byte b) { return b == static_cast<std::byte>(m->who * 16 + m->number % 16); }));
  }
  for (const int n : next) EXPECT_EQ(n, each);
}

TYPED_TEST(pipes, any_number_receive_from_one) {
  auto [rx, tx] = make_pipe<numbered>();
  std::vector<typename TypeParam::template unit<int>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(TypeParam::start(
        [](const receiver<numbered>& in) {
          int count = 0;
          while (const auto m = in.receive()) {
            for (const std::byte b : m->load) {
              if (b != static_cast<std::byte>(m->number)) throw std::runtime_error("mixed up");
            }
            ++count;
          }
          return count;
        },
        rx));
  }
  rx.close();
  constexpr int messages = 200;
  for (int i = 0; i < messages; ++i) tx.send({0, i, bytes(i % 4 == 0 ? 100'000 : 100, static_cast<std::byte>(i))});
  tx.close();
  int sum = 0;
  for (auto& u : all) sum += u.get();
  EXPECT_EQ(sum, messages);
}

TEST_F(pipe_ends, each_copy_in_a_process_of_many_threads) {
  auto [rx, tx] = make_pipe<int>();
  std::vector<tandem::thread<long>> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([in = rx] {
      long sum = 0;
      while (const auto n = in.receive()) sum += *n;
      return sum;
    });
  }
  {
    std::vector<tandem::thread<void>> writers;
    for (int i = 0; i < 3; ++i) {
      writers.emplace_back([out = tx] {
        for (int n = 1; n <= 1000; ++n) out.send(n);
      });
    }
  }
  tx.close();
  long sum = 0;
  for (auto& r : readers) sum += r.get();
  EXPECT_EQ(sum, 3L * 1000 * 1001 / 2);
}

}  // namespace
