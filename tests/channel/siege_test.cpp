// Listeners that are short of descriptors, that are forked, or that many worthless clients come to.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "channel/raw_peer.hpp"
#include "channel/samples.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::connect;
using tandem::connection;
using tandem::listener;
using tandem::test::good_hello;
using tandem::test::pattern;
using tandem::test::raw_peer;

struct over_unix {
  static constexpr const char* address = "unix:@";
  static constexpr const char* name = "unix";
};
struct over_tcp {
  static constexpr const char* address = "tcp://127.0.0.1:0";
  static constexpr const char* name = "tcp";
};
struct names {
  template <class T>
  static std::string GetName(int) {
    return T::name;
  }
};

using families = testing::Types<over_unix, over_tcp>;
template <class Family>
class besieged : public tandem::test::checked {};
TYPED_TEST_SUITE(besieged, families, names);

class siege : public tandem::test::checked {};

/// No further descriptor can be had while it lives.
class without_descriptors {
 public:
  without_descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{3, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  without_descriptors(const without_descriptors&) = delete;
  without_descriptors& operator=(const without_descriptors&) = delete;
  ~without_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TYPED_TEST(besieged, who_has_no_descriptor_for_a_client_is_told_and_takes_it_later) {
  listener l(TypeParam::address, {.handshake_deadline = 300ms});
  const raw_peer silent(l.address());
  EXPECT_FALSE(l.accept_for<std::string>(0s));  // is taken in
  const raw_peer slow(l.address());
  EXPECT_FALSE(l.accept_for<std::string>(0s));
  const raw_peer waits(l.address());
  waits.write_object(good_hello());
  {
    const without_descriptors none;
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(tandem::wait_any(std::tie(l), 20s));
      try {
        l.accept<std::string>();
        ADD_FAILURE() << "a client without a descriptor";
      } catch (const tandem::resource_exhausted& e) {
        EXPECT_EQ(e.code(), std::errc::too_many_files_open);
        EXPECT_NE(std::string(e.what()).find("RLIMIT_NOFILE"), std::string::npos) << e.what();
      }
    }
    // Those that are in go on, to the end that is theirs.
    slow.write_object(good_hello());
    int errors = 0;
    for (;;) {
      try {
        EXPECT_TRUE(l.accept_for<std::string>(20s));
        break;
      } catch (const tandem::resource_exhausted&) {
        ASSERT_LT(++errors, 10);
      }
    }
    while (::recv(silent.fd(), &errors, 1, MSG_DONTWAIT) != 0) {
      try {
        l.accept_for<std::string>(1ms);
      } catch (const tandem::resource_exhausted&) {
      }
    }
  }
  EXPECT_TRUE(l.accept_for<std::string>(20s));
}

// Of those that nobody could wait for, memory holds a few.
TYPED_TEST(besieged, a_good_client_does_not_wait_behind_worthless_ones) {
  listener l(TypeParam::address, {.backlog = 1000});
  for (int i = 0; i < 600; ++i) raw_peer(l.address()).write(pattern(56));
  const auto c = connect<int>(l.address());
  int before = 0;
  for (bool let_in = false; !let_in;) {
    try {
      let_in = l.accept_for<int>(20s).has_value();
    } catch (const tandem::broken_connection&) {
      ++before;
    }
  }
  EXPECT_LT(before, 60);
  int after = 0;
  for (bool more = true; more;) {
    try {
      more = l.accept_for<int>(0s).has_value();
    } catch (const tandem::broken_connection&) {
      ++after;
    }
  }
  EXPECT_GT(after, 0);
  EXPECT_LE(after, 256);
}

// By whoever waits for the listener, in whichever way.
TYPED_TEST(besieged, silent_ones_are_dropped_also_where_nobody_waits_in_accept) {
  for (const bool by_descriptor : {false, true}) {
    listener l(TypeParam::address, {.handshake_deadline = 200ms});
    const raw_peer first(l.address());
    const raw_peer second(l.address());
    const int descriptor = l.native_handle();
    const auto is_ready = [&] {
      return by_descriptor ? tandem::wait_any(std::tie(descriptor), 20s) : tandem::wait_any(std::tie(l), 1ms);
    };
    char byte = 0;
    for (const raw_peer* peer : {&first, &second}) {
      while (::recv(peer->fd(), &byte, 1, MSG_DONTWAIT) < 0) {
        if (is_ready()) {
          EXPECT_FALSE(l.accept_for<int>(0s));
        }
      }
    }
    EXPECT_FALSE(tandem::wait_any(std::tie(descriptor), 0s));  // and nothing is left to do
  }
}

// ---- a listener that never accepts ----------------------------------------------------------------------------------

TYPED_TEST(besieged, a_client_that_nobody_accepts_waits_for_nothing_past_its_deadline) {
  const listener l(TypeParam::address);
  using text = connection<std::string, std::string>;
  const std::pair<const char*, std::function<void(text&)>> all[] = {
      {"receive", [](text& c) { c.receive(); }},
      {"poll", [](text& c) { EXPECT_TRUE(c.poll(300s)); }},
      {"poll without a time",
       [](text& c) {
         while (!c.poll()) continue;
       }},
      {"wait_any", [](text& c) { tandem::wait_any(std::tie(c)); }},
      {"small messages",
       [](text& c) {
         for (;;) c.send("small");
       }},
      {"a message of a packet",
       [](text& c) {
         for (;;) c.send(std::string(100'000, 'x'));
       }},
      {"a large one", [](text& c) { c.send(std::string(30'000'000, 'x')); }},
      {"send_for",
       [](text& c) {
         while (c.send_for(std::string(100'000, 'x'), 300s)) continue;
       }},
  };
  for (const auto& [what, waits] : all) {
    SCOPED_TRACE(what);
    auto c = connect<std::string>(l.address(), {.handshake_deadline = 200ms});
    const bool says_no_more_than_ready = std::string(what).starts_with("poll") || std::string(what) == "wait_any";
    if (says_no_more_than_ready) {
      waits(c);
      EXPECT_THROW(c.receive(), tandem::timed_out);
    } else {
      EXPECT_THROW(waits(c), tandem::timed_out);
    }
  }
}

// What one thread waits for, another may have taken.
TYPED_TEST(besieged, many_threads_await_one_answer_and_no_message_is_lost) {
  for (int round = 0; round < 20; ++round) {
    listener l(TypeParam::address);
    const auto c = connect<int>(l.address());
    std::atomic<int> sum{0};
    std::vector<tandem::thread<void>> all;
    for (int i = 1; i <= 3; ++i) all.emplace_back([&] { sum += c.receive().value(); });
    all.emplace_back([&] {
      for (int i = 0; i < 100; ++i) c.send(i);
    });
    all.emplace_back([&] {
      while (sum == 0) c.poll(1ms);
    });
    const auto s = l.accept<int>();
    for (int i = 1; i <= 3; ++i) s.send(i);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(s.receive(), i);
    for (auto& t : all) t.join();
    EXPECT_EQ(sum, 6);
  }
}

// ---- copies of the program ----------------------------------------------------------------------------------------

/// Runs it in a copy, to its end: what it gave.
template <class F>
int in_a_copy(F&& f) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(f());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

/// True if somebody who comes now is let in.
bool serves(listener& l) {
  const auto c = connect<int>(l.address());
  const auto s = l.accept_for<int>(20s);
  if (!s) return false;
  s->send(7);
  return c.receive() == 7;
}

TYPED_TEST(besieged, a_copy_of_the_program_that_closes_it_takes_nothing_from_its_original) {
  listener l(TypeParam::address);
  const raw_peer shakes_hands(l.address());
  EXPECT_FALSE(l.accept_for<std::string>(0s));
  EXPECT_EQ(in_a_copy([&] {
              l.close();
              return l.native_handle() == -1 ? 3 : 4;
            }),
            3);
  EXPECT_TRUE(serves(l));
  shakes_hands.write_object(good_hello());
  EXPECT_TRUE(l.accept_for<std::string>(20s));
  EXPECT_EQ(in_a_copy([&] {
              const int own = l.native_handle();
              const bool nothing = !l.accept_for<int>(0s) && !tandem::wait_any(std::tie(own), 0s);
              const bool served = serves(l);
              l.close();
              return nothing && served ? 3 : 4;
            }),
            3);
  EXPECT_TRUE(serves(l));
}

TYPED_TEST(besieged, a_copy_and_its_original_serve_side_by_side) {
  listener l(TypeParam::address);
  const auto early = connect<int>(l.address());  // has said what it has to
  EXPECT_TRUE(tandem::wait_any(std::tie(l), 20s));
  auto [rx, tx] = tandem::make_pipe<int>();
  auto [stop_rx, stop_tx] = tandem::make_pipe<int>();
  const pid_t child = ::fork();
  if (child == 0) {
    stop_tx.close();
    while (tandem::wait_any(std::tie(l, stop_rx)) == 0) {
      if (const auto c = l.accept_for<int>(0s)) tx.send(c->receive().value());
    }
    ::_exit(0);
  }
  for (int n = 1; n <= 20; ++n) {
    const tandem::process client([](const std::string& at, int number) { connect<int>(at).send(number); }, l.address(),
                                 n);
    EXPECT_EQ(rx.receive(), n);
  }
  const auto s = l.accept<int>();  // who came before the copy was made is none of its
  s.send(5);
  EXPECT_EQ(early.receive(), 5);
  stop_tx.close();
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(serves(l));
}

// ---- what is sent along ---------------------------------------------------------------------------------------------

template <class Descriptors>
void send_along(const raw_peer& peer, std::span<const std::byte> said, const Descriptors& descriptors) {
  iovec part{const_cast<std::byte*>(said.data()), said.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control{};
  const std::size_t size = descriptors.size() * sizeof(int);
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(size);
  cmsghdr* const first = CMSG_FIRSTHDR(&message);
  first->cmsg_level = SOL_SOCKET;
  first->cmsg_type = SCM_RIGHTS;
  first->cmsg_len = CMSG_LEN(size);
  std::memcpy(CMSG_DATA(first), descriptors.data(), size);
  EXPECT_GE(::sendmsg(peer.fd(), &message, MSG_NOSIGNAL), 0);
  if (descriptors.size() == 1) ::close(descriptors[0]);
}

/// A TCP connection that has bytes under way, which its peer does not read, and whose last holder waits at close().
class lingering {
 public:
  lingering() : accepts_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int little = 4096;
    ::setsockopt(accepts_, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    ::bind(accepts_, reinterpret_cast<sockaddr*>(&at), sizeof at);
    ::listen(accepts_, 1);
    socklen_t size = sizeof at;
    ::getsockname(accepts_, reinterpret_cast<sockaddr*>(&at), &size);
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at);
    peer_ = ::accept4(accepts_, nullptr, nullptr, SOCK_CLOEXEC);
    const linger longer_than_the_watchdog{1, 300};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &longer_than_the_watchdog, sizeof longer_than_the_watchdog);
    const bytes_of_any junk(100'000);
    while (::send(fd_, junk.data(), junk.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
  }
  lingering(const lingering&) = delete;
  lingering& operator=(const lingering&) = delete;
  ~lingering() {
    ::close(peer_);  // with bytes unread: the connection is reset, and nothing left to wait for
    ::close(accepts_);
    if (fd_ >= 0) ::close(fd_);
  }
  /// Whoever is given it closes it.
  int give() { return std::exchange(fd_, -1); }

 private:
  using bytes_of_any = std::vector<std::byte>;
  int accepts_;
  int fd_ = -1;
  int peer_ = -1;
};

TEST_F(siege, what_is_sent_along_unasked_holds_up_no_listener) {
  lingering in_greeting;
  lingering behind_it;
  lingering unread;
  const std::vector<std::byte> little(1);
  listener l("unix:@", {.handshake_deadline = 100ms});
  const raw_peer rude(l.address());
  send_along(rude, little, std::array{in_greeting.give()});
  rude.write({});
  send_along(rude, little, std::array{behind_it.give()});
  EXPECT_THROW(l.accept<int>(), tandem::broken_connection);
  EXPECT_TRUE(serves(l));
  std::optional<listener> closed(std::in_place, "unix:@");
  const raw_peer late(closed->address());
  EXPECT_FALSE(closed->accept_for<int>(0s));
  send_along(late, little, std::array{unread.give()});
  closed.reset();
}

// Their values are whole, and of what else came nothing is left.
TEST_F(siege, handles_for_a_type_that_has_none_cost_no_descriptors_and_no_wait) {
  listener l("unix:@");
  const raw_peer peer(l.address());
  auto hello = good_hello();
  hello.sends = hello.receives = tandem::detail::fingerprint<int>();
  peer.write_object(hello);
  const auto c = l.accept<int>();
  const auto value = tandem::encode(7);
  const auto message = [&](std::uint64_t handles, std::uint8_t apart) {
    tandem::channel::frame f;
    f.bytes = value.size();
    f.handles = handles;
    f.apart = apart;
    const auto head = std::as_bytes(std::span(&f, 1));
    std::vector<std::byte> all(head.begin(), head.end());
    all.insert(all.end(), value.begin(), value.end());
    return all;
  };
  {
    lingering one;
    send_along(peer, message(1, 0), std::array{one.give()});
    EXPECT_EQ(c.receive(), 7);
    EXPECT_FALSE(c.poll());
  }
  // Far more than can be had, and behind them one that lingers.
  lingering last;
  std::array<int, 2> box{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, box.data()), 0);
  {
    const raw_peer ours(box[0]);
    std::vector<int> many(250, ours.fd());
    for (int i = 0; i < 4; ++i) send_along(ours, std::vector<std::byte>(1), many);
    send_along(ours, std::vector<std::byte>(1), std::array{last.give()});
    ASSERT_EQ(::send(box[1], "y", 1, MSG_NOSIGNAL), 1);  // unread where it closes: an error comes before the rest
  }
  send_along(peer, message(1001, tandem::channel::handles_apart), std::array{box[1]});
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit some{400, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &some);
  EXPECT_EQ(c.receive(), 7);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
