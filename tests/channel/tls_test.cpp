// Encrypted connections. The certificates in the folder beside this file are for these tests alone; they end in 2126.
#include <sys/wait.h>
#include <unistd.h>

#include "channel/samples.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::connect;
using tandem::listener;
using tandem::socket_options;
using tandem::tls_options;
using tandem::test::bytes;
using tandem::test::pattern;

class tls_test : public tandem::test::checked {};

std::filesystem::path file(const char* name) { return std::filesystem::path(TANDEM_TEST_CERTIFICATES) / name; }

tls_options of_server() { return {.certificate = file("server.pem"), .private_key = file("server.key")}; }
tls_options of_client() { return {.authority = file("authority.pem")}; }

TEST_F(tls_test, carries_messages_of_any_size_both_ways) {
  for (const char* where : {"tcp://127.0.0.1:0", "tcp://localhost:0", "tcp://[::1]:0"}) {
    listener l(where, {.tls = of_server()});
    tandem::process p(
        [](const std::string& address) {
          const auto c = connect<bytes>(address, {.tls = of_client()});
          while (auto got = c.receive_bytes()) c.send_bytes(*got);
        },
        l.address());
    auto c = l.accept<bytes>();
    for (const std::size_t size : {0UL, 1UL, 16384UL - 24, 16384UL, 64_KiB + 1, 5_MiB}) {
      const bytes sent = pattern(size);
      tandem::thread t([&] { c.send_bytes(sent); });
      EXPECT_TRUE(c.receive_bytes() == sent) << size;
    }
    EXPECT_FALSE(c.receive_for(0s));
    EXPECT_FALSE(c.poll());
    EXPECT_TRUE(c.try_send(bytes(10)));
    EXPECT_EQ(tandem::wait_any(std::tie(c)), 0U);
    EXPECT_EQ(c.receive_for(20s)->size(), 10U);
    c.close();
    p.get();
  }
}

TEST_F(tls_test, goes_with_a_key) {
  const socket_options theirs{.key = "secret", .tls = of_server()};
  listener l("tcp://127.0.0.1:0", theirs);
  tandem::thread t([&] {
    EXPECT_THROW(l.accept<int>(), tandem::authentication_failed);
    return l.accept<int>().receive();
  });
  EXPECT_THROW(connect<int>(l.address(), {.key = "another", .tls = of_client()}), tandem::authentication_failed);
  const auto c = connect<int>(l.address(), {.key = "secret", .tls = of_client()});
  c.send(5);
  EXPECT_EQ(t.get(), 5);
}

TEST_F(tls_test, a_certificate_that_is_not_good_is_refused_on_both_sides) {
  listener l("tcp://127.0.0.1:0", {.tls = of_server()});
  listener self_signed("tcp://localhost:0",
                       {.tls = tls_options{.certificate = file("other.pem"), .private_key = file("other.key")}});
  const auto refused = [](listener& at, const tls_options& with) {
    tandem::thread t([&] { EXPECT_THROW(at.accept<int>(), tandem::error); });
    EXPECT_THROW(connect<int>(at.address(), {.tls = with}), tandem::authentication_failed);
    t.join();
  };
  refused(l, {});  // the system trusts no such authority
  refused(l, {.authority = file("authority.pem"), .server_name = "example.org"});
  refused(self_signed, of_client());
  tandem::thread t([&] { return l.accept<int>().receive(); });
  const auto c = connect<int>(l.address(), {.tls = of_client()});
  c.send(1);
  EXPECT_EQ(t.get(), 1);
}

TEST_F(tls_test, a_listener_with_an_authority_asks_for_certificates) {
  auto asking = of_server();
  asking.authority = file("authority.pem");
  listener l("tcp://127.0.0.1:0", {.tls = asking});
  tandem::thread t([&] {
    EXPECT_THROW(l.accept<int>(), tandem::authentication_failed);
    return l.accept<int>().receive();
  });
  EXPECT_THROW(connect<int>(l.address(), {.tls = of_client()}), tandem::error);
  auto known = of_client();
  known.certificate = file("client.pem");
  known.private_key = file("client.key");
  const auto c = connect<int>(l.address(), {.tls = known});
  c.send(2);
  EXPECT_EQ(t.get(), 2);
}

TEST_F(tls_test, one_side_alone_fails) {
  listener encrypted("tcp://127.0.0.1:0", {.tls = of_server(), .handshake_deadline = 500ms});
  listener plain("tcp://127.0.0.1:0", {.handshake_deadline = 500ms});
  tandem::thread t([&] { EXPECT_THROW(encrypted.accept<int>(), tandem::broken_connection); });
  EXPECT_THROW(connect<int>(encrypted.address(), {.handshake_deadline = 500ms}), tandem::error);
  t.join();
  tandem::thread t2([&] { EXPECT_THROW(plain.accept<int>(), tandem::broken_connection); });
  EXPECT_THROW(connect<int>(plain.address(), {.tls = of_client(), .handshake_deadline = 500ms}), tandem::error);
  t2.join();
}

TEST_F(tls_test, options_that_cannot_be_are_refused) {
  EXPECT_THROW(listener("tcp://127.0.0.1:0", {.tls = tls_options{}}), std::invalid_argument);
  EXPECT_THROW(listener("unix:@", {.tls = of_server()}), std::invalid_argument);
  EXPECT_THROW(listener("tcp://127.0.0.1:0", {.tls = tls_options{.certificate = "/no/such", .private_key = "/file"}}),
               tandem::error);
  EXPECT_THROW(listener("tcp://127.0.0.1:0",
                        {.tls = tls_options{.certificate = file("server.pem"), .private_key = file("other.key")}}),
               tandem::error);
}

TEST_F(tls_test, a_private_key_with_a_passphrase_is_refused_and_nobody_is_asked) {
  testing::internal::CaptureStderr();
  try {
    listener l("tcp://127.0.0.1:0",
               {.tls = tls_options{.certificate = file("server.pem"), .private_key = file("locked.key")}});
    ADD_FAILURE() << "listens";
  } catch (const tandem::error& e) {
    EXPECT_NE(std::string(e.what()).find("passphrase"), std::string::npos) << e.what();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// Whoever would accept may be the one who connects.
TEST_F(tls_test, one_thread_can_shake_hands_with_itself) {
  const std::pair<socket_options, socket_options> all[] = {
      {{.tls = of_server()}, {.tls = of_client()}},
      {{.key = "secret"}, {.key = "secret"}},
      {{.key = "secret", .tls = of_server()}, {.key = "secret", .tls = of_client()}},
  };
  for (const auto& [ours, theirs] : all) {
    for (const char* where : {"tcp://127.0.0.1:0", "unix:@"}) {
      if (ours.tls && std::string(where) == "unix:@") continue;
      listener l(where, ours);
      const auto c = connect<int>(l.address(), theirs);
      const auto s = l.accept<int>();
      c.send(3);
      EXPECT_EQ(s.receive(), 3);
      s.send(4);
      EXPECT_EQ(c.receive(), 4);
    }
  }
  // In a copy of the program it is its original that accepts.
  listener l("unix:@", {.key = "secret"});
  const pid_t child = ::fork();
  if (child == 0) ::_exit(connect<int>(l.address(), {.key = "secret"}).receive().value_or(0));
  l.accept<int>().send(9);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 9);
}

TEST_F(tls_test, cannot_go_to_another_process) {
  listener l("tcp://127.0.0.1:0", {.tls = of_server()});
  tandem::thread t([&] { return l.accept<int>(); });
  const auto c = connect<int>(l.address(), {.tls = of_client()});
  auto [rx, tx] = tandem::make_pipe<tandem::connection<int, int>>();
  EXPECT_THROW(tx.send(c), tandem::error);
  t.get();
}

TEST_F(tls_test, a_copy_of_the_program_can_only_close_it) {
  listener l("tcp://127.0.0.1:0", {.tls = of_server()});
  tandem::thread t([&] {
    const auto s = l.accept<int>();
    while (const auto n = s.receive()) s.send(*n + 1);
  });
  auto c = connect<int>(l.address(), {.tls = of_client()});
  c.send(1);
  EXPECT_EQ(c.receive(), 2);
  const pid_t child = ::fork();
  if (child == 0) {
    int refused = 0;
    try {
      c.send(50);
    } catch (const tandem::error&) {
      ++refused;
    }
    try {
      c.receive_for(0s);
    } catch (const tandem::error&) {
      ++refused;
    }
    c.close();
    ::_exit(refused);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 2);
  c.send(10);
  EXPECT_EQ(c.receive(), 11);
  c.close();
  t.get();
}

TEST_F(tls_test, a_peer_that_is_killed_is_told) {
  listener l("tcp://127.0.0.1:0", {.tls = of_server()});
  tandem::process p(
      [](const std::string& address) {
        const auto c = connect<bytes>(address, {.tls = of_client()});
        c.send(bytes(50_MiB));
      },
      l.address());
  const auto c = l.accept<bytes>();
  const int descriptor = c.native_handle();
  EXPECT_EQ(tandem::wait_any(std::tie(descriptor)), 0U);
  p.kill();
  EXPECT_THROW(c.receive(), tandem::broken_connection);
}

}  // namespace
