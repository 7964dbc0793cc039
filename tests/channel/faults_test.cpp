// The n-th call into the kernel fails, for n = 1, 2, 3 ... until the operation needs no further one: each time a clear
// error or success, nothing left, and the next message goes through.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <atomic>
#include <exception>
#include <filesystem>
#include <functional>
#include <thread>

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

class channel_faults : public tandem::test::checked {
  tandem::test::watchdog longer_{230};  // hundreds of tries, each of them slow under a sanitizer
};

/// `afterwards` runs before what is left is counted, with calls that do not fail.
void each_call_fails(
    const std::function<void()>& operation, const std::function<void()>& afterwards = [] {}) {
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
      afterwards();
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

TEST_F(channel_faults, of_a_large_message_in_a_packet) {
  const bytes large = pattern(80_KiB);
  each_call_fails([&] {
    auto [a, b] = tandem::make_duplex<bytes, bytes>();
    for (int i = 0; i < 2; ++i) {
      a.send(large);
      EXPECT_TRUE(b.receive() == large);
    }
    b.send(large);
    EXPECT_TRUE(a.receive_for(1s) == large);
  });
}

// Of which one side fails, and the other sees its end.
TEST_F(channel_faults, of_a_large_message_in_a_stream) {
  const bytes large = pattern(2_MiB);
  each_call_fails([&] {
    auto [rx, tx] = tandem::make_pipe<bytes>();
    std::exception_ptr of_sender;
    std::thread t([&of_sender, &large, out = std::exchange(tx, {})]() mutable {
      try {
        out.send(large);
      } catch (const tandem::error&) {
        of_sender = std::current_exception();
      }
      out.close();
    });
    std::exception_ptr of_receiver;
    bool whole = false;
    try {
      whole = rx.receive() == large;
    } catch (const tandem::error&) {
      of_receiver = std::current_exception();
    }
    rx.close();
    t.join();
    EXPECT_TRUE(whole || of_sender || of_receiver);
    if (of_receiver) std::rethrow_exception(of_receiver);
    if (of_sender) std::rethrow_exception(of_sender);
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

// ---- sockets ------------------------------------------------------------------------------------------------------

struct served_place {
  const char* address;
  tandem::socket_options of_listener = {};
  tandem::socket_options of_client = {};
};

std::vector<served_place> places() {
  std::vector<served_place> all{{"unix:@"}, {"tcp://127.0.0.1:0"}};
#if TANDEM_TEST_TLS
  const std::filesystem::path folder = TANDEM_TEST_CERTIFICATES;
  all.push_back({"unix:@", {.key = "secret"}, {.key = "secret"}});
  all.push_back(
      {"tcp://127.0.0.1:0",
       {.key = "secret",
        .tls = tandem::tls_options{.certificate = folder / "server.pem", .private_key = folder / "server.key"}},
       {.key = "secret", .tls = tandem::tls_options{.authority = folder / "authority.pem"}}});
#endif
  return all;
}

/// One client asks, and the listener's side answers. What either threw; nobody waits for one that has failed.
struct outcome {
  std::exception_ptr of_client = {};
  std::exception_ptr of_listener = {};
};
outcome converse(tandem::listener& l, const served_place& place) {
  outcome o;
  std::atomic<bool> ended{false};
  std::thread t([&] {
    try {
      const auto c = tandem::connect<std::string>(l.address(), place.of_client);
      c.send("question");
      EXPECT_EQ(c.receive().value_or("answer"), "answer");
    } catch (const tandem::error&) {
      o.of_client = std::current_exception();
    }
    ended = true;
  });
  bool answered = false;
  while (!answered && !ended) {
    try {
      const auto c = l.accept_for<std::string>(10ms);
      if (!c) continue;
      const auto question = c->receive();
      EXPECT_TRUE(!question || *question == "question");
      if (!question) continue;  // one that had failed before
      c->send("answer");
      answered = true;
    } catch (const tandem::error&) {
      o.of_listener = std::current_exception();
    }
  }
  t.join();
  return o;
}

TEST_F(channel_faults, of_listening) {
  const std::string file = "unix:/tmp/tandem-faults-" + std::to_string(::getpid());
  for (served_place place : places()) {
    const bool is_path = std::strcmp(place.address, "unix:@") == 0 && place.of_listener.key.empty();
    each_call_fails([&] { tandem::listener l(is_path ? file : place.address, place.of_listener); });
    EXPECT_FALSE(std::filesystem::exists(file.substr(5)));
  }
}

TEST_F(channel_faults, of_connecting_and_accepting) {
  for (const served_place& place : places()) {
    SCOPED_TRACE(place.address);
    tandem::listener l(place.address, place.of_listener);
    const auto without = converse(l, place);  // also makes what is made once
    ASSERT_FALSE(without.of_client || without.of_listener);
    const auto talk = [&] {
      const outcome o = converse(l, place);
      if (o.of_listener) std::rethrow_exception(o.of_listener);
      if (o.of_client) std::rethrow_exception(o.of_client);
    };
    // A client that failed while it was let in is the listener's until it looks again.
    const auto look_again = [&] {
      for (bool more = true; more;) {
        try {
          more = l.accept_for<std::string>(0ms).has_value();
        } catch (const tandem::error&) {
        }
      }
    };
    each_call_fails(talk, look_again);
    // One that failed may have left a word for accept(); then all is as before.
    for (int tries = 0;; ++tries) {
      const auto after = converse(l, place);
      if (!after.of_client && !after.of_listener) break;
      ASSERT_LT(tries, 3);
    }
  }
}

}  // namespace
