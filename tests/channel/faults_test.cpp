// The n-th call into the kernel fails, for n = 1, 2, 3 ... until the operation needs no further one: each time a clear
// error or success, nothing left, and the next message goes through.
#include <cerrno>
#include <cstring>

#include <functional>

#include "channel/samples.hpp"
#include "os/faults.hpp"
#include "support/fixture.hpp"

#if !defined(TANDEM_FAULTS)
#error "these tests need the fault points: configure with -DTANDEM_FAULTS=ON"
#endif

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::test::bytes;
using tandem::test::pattern;
namespace faults = tandem::os::faults;

class channel_faults : public tandem::test::checked {};

void each_call_fails(const std::function<void()>& operation) {
  for (const int error : {EMFILE, ENOMEM}) {
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE("call " + std::to_string(nth) + ", " + ::strerror(error));
      const auto before = tandem::test::take_stock();
      faults::arm(tandem::os::role::host, nth, error);
      try {
        operation();
      } catch (const tandem::resource_exhausted& e) {
        EXPECT_EQ(e.code().value(), error) << e.what();
        EXPECT_FALSE(e.operation().empty());
      } catch (const tandem::error& e) {
        EXPECT_GT(std::strlen(e.what()), 20U);
      }
      const bool reached = faults::disarm();
      for (const std::string& leak : tandem::test::leaks_since(before)) ADD_FAILURE() << "left behind: " << leak;
      if (!reached) break;
      ASSERT_LT(nth, 1000);
    }
  }
}

TEST_F(channel_faults, of_a_small_message) {
  each_call_fails([] {
    auto [rx, tx] = tandem::make_pipe<std::string>();
    tx.send("one");
    EXPECT_TRUE(rx.poll());
    EXPECT_EQ(rx.receive(), "one");
    EXPECT_TRUE(tx.try_send("two"));
    EXPECT_EQ(rx.receive_for(1s), "two");
  });
}

TEST_F(channel_faults, of_a_large_message_in_memory) {
  const bytes large = pattern(500_KiB);
  each_call_fails([&] {
    auto [rx, tx] = tandem::make_pipe<bytes>();
    EXPECT_TRUE(tx.try_send(large));
    EXPECT_TRUE(rx.receive() == large);
    EXPECT_TRUE(tx.try_send(large));
    tx.close();
    EXPECT_TRUE(rx.receive_for(1s) == large);
    EXPECT_FALSE(rx.receive());
  });
}

TEST_F(channel_faults, of_a_large_message_in_a_stream) {
  // Small enough for the stream's buffer, so that one thread does: the calls come in one order.
  const bytes large = pattern(80_KiB);
  each_call_fails([&] {
    auto [a, b] = tandem::make_duplex<bytes, bytes>();
    a.send(large);
    EXPECT_TRUE(b.receive() == large);
    b.send(large);
    EXPECT_TRUE(a.receive_for(1s) == large);
  });
}

TEST_F(channel_faults, of_handles) {
  each_call_fails([] {
    auto [rx, tx] = tandem::make_pipe<std::vector<tandem::sender<int>>>();
    auto [inner_rx, inner_tx] = tandem::make_pipe<int>();
    for (const std::size_t count : {1UL, 300UL}) {
      tx.send(std::vector(count, inner_tx));
      EXPECT_EQ(rx.receive()->size(), count);
    }
  });
}

TEST_F(channel_faults, of_waiting) {
  each_call_fails([] {
    tandem::thread<void> t;  // outlives the sender
    auto [rx, tx] = tandem::make_pipe<int>();
    t = tandem::thread([in = rx] { in.receive(); });
    tandem::wait_any(std::tie(t), 0s);  // the call that fails may be the thread's
    tx.send(1);
    EXPECT_EQ(tandem::wait_any(std::tie(t)), 0U);
  });
}

}  // namespace
