// Peers that are no tandem, that lie, that stop in the middle, or say nothing; keys and certificates.
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "channel/raw_peer.hpp"
#include "channel/samples.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::connect;
using tandem::connection;
using tandem::listener;
using tandem::socket_options;
using tandem::test::bytes;
using tandem::test::good_hello;
using tandem::test::pattern;
using tandem::test::raw_listener;
using tandem::test::raw_peer;
namespace channel = tandem::channel;

class hostile_peers : public tandem::test::checked {};

constexpr tandem::nanoseconds soon = 300ms;
constexpr bool with_crypto = TANDEM_TEST_TLS != 0;

void expect_good_client(listener& l, const socket_options& options = {}) {
  tandem::thread t([&] {
    const auto c = connect<std::string>(l.address(), options);
    c.send("good");
    return c.receive().value();
  });
  for (;;) {
    try {
      const auto c = l.accept<std::string>();
      EXPECT_EQ(c.receive(), "good");
      c.send("well");
      break;
    } catch (const tandem::broken_connection&) {  // of those before
    }
  }
  EXPECT_EQ(t.get(), "well");
}

TEST_F(hostile_peers, garbage_is_refused_and_the_listener_goes_on) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    listener l(where);
    auto old = good_hello();
    old.head.version = 9;
    auto kind = good_hello();
    kind.head.kind = channel::greeting_kind::proof;
    const auto as_bytes = [](const channel::hello& h) {
      const auto view = std::as_bytes(std::span(&h, 1));
      return bytes(view.begin(), view.end());
    };
    for (const bytes& said : {pattern(56), pattern(3), bytes(56), as_bytes(old), as_bytes(kind), pattern(100'000)}) {
      const raw_peer peer(l.address());
      peer.write(said);
      ::shutdown(peer.fd(), SHUT_WR);
      EXPECT_THROW(l.accept<std::string>(), tandem::broken_connection);
      EXPECT_TRUE(peer.is_hung_up());
    }
    expect_good_client(l);
  }
}

TEST_F(hostile_peers, a_client_that_says_nothing_is_dropped_at_the_deadline) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    listener l(where, {.handshake_deadline = soon});
    const raw_peer silent(l.address());
    EXPECT_FALSE(l.accept_for<int>(0s));
    EXPECT_FALSE(l.accept_for<int>(soon * 2));
    EXPECT_TRUE(silent.is_hung_up());
  }
}

TEST_F(hostile_peers, a_listener_that_says_nothing_or_garbage_is_an_error) {
  raw_listener l;
  EXPECT_THROW(connect<int>(l.address(), {.handshake_deadline = soon}), tandem::timed_out);
  l.accept();
  if (with_crypto) {
    EXPECT_THROW(connect<int>(l.address(), {.key = "k", .handshake_deadline = soon}), tandem::timed_out);
    EXPECT_THROW(connect<int>(l.address(), {.tls = tandem::tls_options{}, .handshake_deadline = soon}),
                 tandem::timed_out);
    for (int i = 0; i < 2; ++i) l.accept();
  }
  for (const bool with_key : {false, true}) {
    if (with_key && !with_crypto) continue;
    for (const bytes& said : {pattern(3), pattern(100), bytes(200)}) {
      tandem::thread t([&] {
        const raw_peer peer = l.accept();
        peer.write(said);
        ::shutdown(peer.fd(), SHUT_WR);
        peer.is_hung_up();
      });
      EXPECT_THROW(connect<int>(l.address(), {.key = with_key ? "k" : ""}), tandem::broken_connection);
      t.join();
    }
  }
  // One that accepts late is waited for only when its answer is needed.
  const auto c = connect<int>(l.address(), {.handshake_deadline = 1500ms});
  c.send(1);
  EXPECT_THROW(c.receive(), tandem::timed_out);
  EXPECT_THROW(c.send(1), tandem::timed_out);
}

// A frame and its bytes, cut off everywhere.
TEST_F(hostile_peers, one_that_dies_at_any_byte_of_a_message_is_told_from_one_that_ends) {
  const std::string text = "some message";
  const bytes value = tandem::encode(text);
  channel::frame f;
  f.bytes = value.size();
  const auto head = std::as_bytes(std::span(&f, 1));
  bytes whole(head.begin(), head.end());
  whole.insert(whole.end(), value.begin(), value.end());
  listener l("tcp://127.0.0.1:0");
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    SCOPED_TRACE(cut);
    std::optional<connection<std::string, std::string>> c;
    {
      const raw_peer peer(l.address());
      peer.write_object(good_hello());
      c = l.accept<std::string>();
      channel::frame welcome;  // left unread, it would make the end a reset
      ASSERT_EQ(::recv(peer.fd(), &welcome, sizeof welcome, MSG_WAITALL), static_cast<ssize_t>(sizeof welcome));
      peer.write(whole);
      peer.write(std::span(whole).first(cut));
    }
    EXPECT_EQ(c->receive(), text);
    if (cut == 0) {
      EXPECT_FALSE(c->receive());
    } else if (cut < whole.size()) {
      EXPECT_THROW(cut % 2 == 0 ? c->receive() : c->receive_for(20s), tandem::broken_connection);
      EXPECT_THROW(c->receive(), tandem::broken_connection);
      EXPECT_THROW(c->send("x"), tandem::broken_connection);
    } else {
      EXPECT_EQ(c->receive(), text);
    }
  }
}

TEST_F(hostile_peers, frames_that_lie_cost_nothing) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    listener l(where);
    const auto with = [](std::uint64_t size, std::uint8_t version, std::uint8_t apart, std::uint64_t handles,
                         channel::frame_kind kind, std::uint16_t magic = channel::frame::right_magic) {
      channel::frame f;
      f.bytes = size;
      f.version = version;
      f.apart = apart;
      f.handles = handles;
      f.kind = kind;
      f.magic = magic;
      return f;
    };
    using channel::frame_kind;
    for (const channel::frame& lie : {
             with(std::uint64_t{1} << 63, 1, 0, 0, frame_kind::message),
             with(2_GiB, 1, 0, 0, frame_kind::message),
             with(0, 2, 0, 0, frame_kind::message),
             with(0, 1, 0, 5, frame_kind::message),
             with(100'000, 1, 1, 0, frame_kind::message),
             with(0, 1, 2, 500, frame_kind::message),
             with(0, 1, 0, 0, frame_kind::welcome),
             with(0, 1, 0, 0, frame_kind::refusal),
             with(0, 1, 0, 0, frame_kind{77}),
             with(0, 1, 0, 0, frame_kind::message, 0x547d),
         }) {
      const raw_peer peer(l.address());
      peer.write_object(good_hello());
      const auto c = l.accept<std::string>();
      peer.write_object(lie);
      EXPECT_THROW(c.receive(), tandem::broken_connection);
    }
    expect_good_client(l);
  }
}

TEST_F(hostile_peers, bytes_without_end_gain_no_time) {
  listener l("tcp://127.0.0.1:0");
  const raw_peer peer(l.address());
  peer.write_object(good_hello());
  const auto c = l.accept<std::string>();
  channel::frame f;
  f.bytes = 1_GiB - 1;
  peer.write_object(f);
  std::atomic<bool> enough{false};
  std::thread trickle([&] {
    const std::byte one{};
    while (!enough) peer.write(std::span(&one, 1));
  });
  EXPECT_FALSE(c.receive_for(20ms));
  EXPECT_FALSE(c.receive_for(20ms));
  enough = true;
  trickle.join();
}

// ---- slow and many ------------------------------------------------------------------------------------------------

TEST_F(hostile_peers, five_hundred_slow_ones_delay_nobody_and_are_dropped) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    listener l(where, {.handshake_deadline = 5s, .backlog = 1000});
    std::vector<raw_peer> slow;
    const auto said = std::as_bytes(std::span(&channel::frame::right_magic, 1));
    for (int i = 0; i < 500; ++i) {
      slow.emplace_back(l.address());
      if (l.address().starts_with("tcp")) slow.back().write(said.first(1));
    }
    for (int i = 0; i < 20; ++i) expect_good_client(l);
    EXPECT_FALSE(l.accept_for<int>(6s));
    for (const raw_peer& peer : slow) EXPECT_TRUE(peer.is_hung_up());
  }
}

// A thousand clients in a few processes, of which some are killed inside a message.
constexpr int clients = 1000;
constexpr int each = 100;
constexpr int in_one = 100;  // clients: nine processes of a hundred that live, and a hundred that are killed

void hundred_clients(const std::string& address) {
  std::vector<connection<std::string, int>> all;
  for (int n = 0; n < in_one; ++n) all.push_back(connect<std::string, int>(address));
  for (int m = 0; m < each; ++m) {
    for (const auto& c : all) c.send(std::to_string(m));
  }
  for (const auto& c : all) {
    if (c.receive() != each) throw std::runtime_error("not all arrived");
  }
}

void doomed_client(const std::string& address) {
  const auto c = connect<std::string, int>(address);
  for (int m = 0; m < each / 2; ++m) c.send(std::to_string(m));
  c.send(std::string(10'000'000, 'x'));
}

struct served {
  connection<int, std::string> c;
  int count = 0;
  enum { open, complete, broken } state = open;

  void serve() {
    try {
      while (const auto text = c.receive_for(0s)) {
        if (text->size() > 10) continue;  // of a doomed one that was killed too late
        EXPECT_EQ(*text, std::to_string(count));
        if (++count < each) continue;
        c.send(each);
        state = complete;
        return;
      }
    } catch (const tandem::broken_connection&) {
      state = broken;
    } catch (const tandem::closed&) {
      state = broken;
    }
  }
};

TEST_F(hostile_peers, a_thousand_clients_of_which_every_tenth_is_killed) {
  listener l("unix:@", {.backlog = 1000});
  std::vector<tandem::process<void>> good;
  std::vector<tandem::process<void>> doomed;
  for (int i = 0; i < clients / in_one - 1; ++i) good.emplace_back(hundred_clients, l.address());
  for (int i = 0; i < clients / 10; ++i) doomed.emplace_back(doomed_client, l.address());
  std::vector<served> all;
  std::vector<int> descriptors;  // -1 becomes the listener's: it is always there
  int complete = 0;
  int broken = 0;
  std::size_t next_doomed = 0;
  while (complete + broken < clients) {
    while (all.size() < clients) {
      auto c = all.empty() ? std::optional(l.accept<int, std::string>()) : l.accept_for<int, std::string>(0s);
      if (!c) break;
      descriptors.push_back(c->native_handle());
      all.push_back({std::move(*c)});
    }
    if (all.size() == clients && next_doomed < doomed.size()) doomed[next_doomed++].kill();
    const auto which = tandem::wait_any(descriptors, 10ms);
    if (!which || all[*which].state != served::open) continue;
    all[*which].serve();
    if (all[*which].state == served::open) continue;
    ++(all[*which].state == served::complete ? complete : broken);
    descriptors[*which] = l.native_handle();
  }
  EXPECT_EQ(complete, clients - clients / 10);
  EXPECT_EQ(broken, clients / 10);
  for (auto& p : good) p.get();
}

// ---- keys ---------------------------------------------------------------------------------------------------------

#if TANDEM_TEST_TLS

TEST_F(hostile_peers, the_same_key_on_both_sides_lets_in) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    const socket_options options{.key = "a secret of both"};
    listener l(where, options);
    expect_good_client(l, options);
  }
}

TEST_F(hostile_peers, another_key_or_none_fails_on_both_sides) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    for (const auto& [ours, theirs] : {std::pair("right", "wrong"), std::pair("right", ""), std::pair("", "wrong"),
                                       std::pair("right", "right but longer")}) {
      SCOPED_TRACE(std::string(where) + " " + ours + " " + theirs);
      listener l(where, {.key = ours});
      tandem::thread t([&] { EXPECT_THROW(l.accept<std::string>(), tandem::authentication_failed); });
      EXPECT_THROW(connect<std::string>(l.address(), {.key = theirs}), tandem::authentication_failed);
      t.join();
      expect_good_client(l, {.key = ours});
    }
  }
}

TEST_F(hostile_peers, a_proof_is_of_no_use_to_who_repeats_or_reflects_it) {
  const std::string key = "secret";
  listener l("unix:@", {.key = key});
  // What a good client says, heard on the way: the same again is another conversation, with another challenge.
  const auto heard = [&] {
    channel::hello h = good_hello();
    h.head.wants_proof = 1;
    return h;
  }();
  const raw_peer peer(l.address());
  peer.write_object(heard);
  EXPECT_FALSE(l.accept_for<std::string>(0s));
  channel::challenge c;
  ASSERT_EQ(::recv(peer.fd(), &c, sizeof c, 0), static_cast<ssize_t>(sizeof c));
  channel::proof p;
  const std::string label = "tandem listener 1";
  p.mac = channel::authenticate(
      key, {std::as_bytes(std::span(label)), std::as_bytes(std::span(&heard, 1)), std::as_bytes(std::span(&c, 1))});
  peer.write_object(p);  // even the right proof of the other side is none of this one
  EXPECT_THROW(l.accept<std::string>(), tandem::authentication_failed);
  char rest = 0;
  EXPECT_EQ(::recv(peer.fd(), &rest, 1, 0), 0);  // told nothing
}

#else

TEST_F(hostile_peers, keys_and_encryption_that_were_not_built_are_refused) {
  const auto refused = [](const std::function<void()>& what) {
    try {
      what();
      ADD_FAILURE() << "was not refused";
    } catch (const tandem::unsupported& e) {
      EXPECT_NE(std::string(e.what()).find("TANDEM_TLS=ON"), std::string::npos) << e.what();
    }
  };
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    refused([&] { listener l(where, {.key = "k"}); });
    listener l(where);
    refused([&] { connect<int>(l.address(), {.key = "k"}); });
    expect_good_client(l);
  }
  const socket_options encrypted{.tls = tandem::tls_options{}};
  refused([&] { listener l("tcp://127.0.0.1:0", encrypted); });
  listener l("tcp://127.0.0.1:0");
  refused([&] { connect<int>(l.address(), encrypted); });
  // A client that can, and asks.
  channel::hello asks = good_hello();
  asks.head.wants_proof = 1;
  const raw_peer peer(l.address());
  peer.write_object(asks);
  EXPECT_THROW(l.accept<std::string>(), tandem::authentication_failed);
  expect_good_client(l);
}

#endif

TEST_F(hostile_peers, another_user_is_refused_unless_asked_for) {
  if (::getuid() != 0) GTEST_SKIP() << "only root can be another user";
  for (const bool any : {false, true}) {
    listener l("unix:@", {.any_user = any});
    const std::string address = l.address();
    const pid_t child = ::fork();
    if (child == 0) {
      if (::setuid(65534) != 0) ::_exit(2);
      const raw_peer peer(address);
      peer.write_object(good_hello());
      ::_exit(peer.is_hung_up() ? 0 : 1);
    }
    if (any) {
      EXPECT_TRUE(l.accept<std::string>().send_for("hello", 1s));
    } else {
      EXPECT_THROW(l.accept<std::string>(), tandem::authentication_failed);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
