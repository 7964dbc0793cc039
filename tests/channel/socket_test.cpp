// Listeners and the clients that connect to them: unix:/path, unix:@name and tcp://.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>

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
using tandem::test::pattern;

namespace fs = std::filesystem;

std::string path_of(const char* name) {
  return (fs::temp_directory_path() / ("tandem-test-" + std::to_string(::getpid()) + "-" + name)).string();
}

struct at_path {
  static std::string address() { return "unix:" + path_of("family"); }
  static constexpr const char* name = "path";
  static constexpr bool is_tcp = false;
};
struct abstract {
  static std::string address() { return "unix:@"; }
  static constexpr const char* name = "abstract";
  static constexpr bool is_tcp = false;
};
struct tcp4 {
  static std::string address() { return "tcp://127.0.0.1:0"; }
  static constexpr const char* name = "tcp4";
  static constexpr bool is_tcp = true;
};
struct tcp6 {
  static std::string address() { return "tcp://[::1]:0"; }
  static constexpr const char* name = "tcp6";
  static constexpr bool is_tcp = true;
};
struct names {
  template <class T>
  static std::string GetName(int) {
    return T::name;
  }
};

template <class Family>
class sockets : public tandem::test::checked {};
using families = testing::Types<at_path, abstract, tcp4, tcp6>;
TYPED_TEST_SUITE(sockets, families, names);
class socket_test : public tandem::test::checked {};

// What a program with an address does: echo until the end.
int be_a_client(const std::string& address, int messages) {
  const auto c = connect<std::string>(address);
  for (int i = 0; i < messages; ++i) {
    const std::string text = "message " + std::to_string(i);
    c.send(text);
    if (c.receive() != text) throw std::runtime_error("another answer");
  }
  return messages;
}

TYPED_TEST(sockets, carry_messages_both_ways) {
  listener l(TypeParam::address());
  tandem::process p(be_a_client, l.address(), 20);
  const auto c = l.accept<std::string>();
  int count = 0;
  while (const auto text = c.receive()) {
    c.send(*text);
    ++count;
  }
  EXPECT_EQ(count, 20);
  EXPECT_EQ(p.get(), 20);
}

TYPED_TEST(sockets, carry_any_size) {
  listener l(TypeParam::address());
  tandem::thread t([&] {
    const auto c = l.accept<bytes>();
    while (auto got = c.receive_bytes()) c.send_bytes(*got);
  });
  const auto c = connect<bytes>(l.address());
  for (const std::size_t size : {0UL, 1UL, 4096UL, 64_KiB, 64_KiB + 1, 1_MiB, 9_MiB}) {
    const bytes sent = pattern(size);
    tandem::thread sends([&] { c.send_bytes(sent); });
    const auto got = c.receive_bytes();
    ASSERT_TRUE(got);
    EXPECT_TRUE(*got == sent) << size;
  }
  EXPECT_TRUE(c.try_send(bytes(100)));
  EXPECT_TRUE(c.send_for(bytes(100'000), 20s));
  bytes room(2_MiB);
  EXPECT_EQ(c.receive_bytes_into(room), 108U);
  EXPECT_EQ(c.receive_bytes_into(std::span(room).first(100'008)), 100'008U);
  tandem::thread sends([&] { c.send(bytes(1_MiB)); });
  EXPECT_THROW(c.receive_bytes_into(std::span(room).first(100)), std::length_error);
  EXPECT_EQ(c.receive_bytes_into(room), 1_MiB + 8);
}

TYPED_TEST(sockets, one_thread_can_be_both_sides) {
  listener l(TypeParam::address());
  const auto client = connect<int, std::string>(l.address());
  client.send(1);
  const auto server = l.accept<std::string, int>();
  EXPECT_EQ(server.receive(), 1);
  server.send("one");
  EXPECT_EQ(client.receive(), "one");
  EXPECT_TRUE(tandem::wait_any(std::tie(client, server), 0s) == std::nullopt);
  client.send(2);
  EXPECT_EQ(tandem::wait_any(std::tie(client, server)), 1U);
  EXPECT_TRUE(server.poll());
  EXPECT_EQ(server.receive_for(0s), 2);
}

// The client came, wrote and went before anybody accepted.
TYPED_TEST(sockets, a_client_that_went_before_accept_still_has_its_say) {
  listener l(TypeParam::address());
  tandem::process p(
      [](const std::string& address) {
        const auto c = connect<std::string>(address);
        c.send("hello");
      },
      l.address());
  p.get();
  const auto c = l.accept<std::string>();
  EXPECT_TRUE(c.poll(20s));
  EXPECT_EQ(c.receive(), "hello");
  EXPECT_FALSE(c.receive());
}

TYPED_TEST(sockets, types_are_compared) {
  listener l(TypeParam::address());
  tandem::thread t([&] { EXPECT_THROW((l.accept<int, std::string>()), tandem::broken_connection); });
  EXPECT_THROW((connect<int, std::string>(l.address())), tandem::broken_connection);
  t.join();
  tandem::thread t2([&] { return (l.accept<int, std::string>()).receive(); });
  const auto good = connect<std::string, int>(l.address());
  good.send("fits");
  EXPECT_EQ(t2.get(), "fits");
}

TYPED_TEST(sockets, a_second_listener_is_refused) {
  listener l(TypeParam::address());
  try {
    listener second(l.address());
    ADD_FAILURE() << "two listen at " << l.address();
  } catch (const tandem::resource_exhausted& e) {
    EXPECT_EQ(e.code(), std::errc::address_in_use) << e.what();
  }
  // And the first one goes on.
  const auto c = connect<int>(l.address());
  c.send(3);
  EXPECT_EQ(l.accept<int>().receive(), 3);
}

TYPED_TEST(sockets, nobody_there_is_an_error) {
  std::string address;
  {
    listener l(TypeParam::address());
    address = l.address();
  }
  EXPECT_THROW(connect<int>(address), tandem::broken_connection);
}

TYPED_TEST(sockets, a_closed_listener_says_so) {
  listener l(TypeParam::address());
  EXPECT_EQ(l.accept_for<int>(0s), std::nullopt);
  EXPECT_EQ(l.accept_for<int>(2ms), std::nullopt);
  tandem::thread t([&] { EXPECT_THROW(l.accept<int>(), tandem::closed); });
  tandem::thread t2([&] { EXPECT_EQ(tandem::wait_any(std::tie(l)), 0U); });
  l.close();
  l.close();
  t.join();
  t2.join();
  EXPECT_THROW(l.accept<int>(), tandem::closed);
  EXPECT_THROW(l.accept_for<int>(1s), tandem::closed);
  EXPECT_EQ(l.native_handle(), -1);
  listener other = std::move(l);
  EXPECT_THROW(l.accept<int>(), tandem::closed);
  EXPECT_THROW(l.address(), tandem::closed);
}

TYPED_TEST(sockets, are_waited_for) {
  listener l(TypeParam::address());
  auto [rx, tx] = tandem::make_pipe<int>();
  EXPECT_EQ(tandem::wait_any(std::tie(l, rx), 0s), std::nullopt);
  tandem::process p(be_a_client, l.address(), 2);
  EXPECT_EQ(tandem::wait_any(std::tie(l, rx)), 0U);
  auto c = l.accept_for<std::string>(0s);
  ASSERT_TRUE(c);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(tandem::wait_any(std::tie(rx, *c, l)), 1U);
    c->send(*c->receive());
  }
  p.join();
  EXPECT_EQ(tandem::wait_any(std::tie(rx, *c)), 1U);
  EXPECT_FALSE(c->receive());
}

TYPED_TEST(sockets, larger_messages_than_agreed_are_refused) {
  listener l(TypeParam::address(), {.max_message_bytes = 1000});
  const auto c = connect<bytes>(l.address());
  const auto s = l.accept<bytes>();
  c.send_bytes(bytes(1000));
  EXPECT_EQ(s.receive_bytes()->size(), 1000U);
  EXPECT_THROW(s.send_bytes(bytes(1001)), std::length_error);
  c.send_bytes(bytes(1001));
  EXPECT_THROW(s.receive_bytes(), tandem::broken_connection);
}

TYPED_TEST(sockets, a_peer_that_is_killed_is_the_end) {
  listener l(TypeParam::address());
  tandem::process p(
      [](const std::string& address) {
        const auto c = connect<bytes>(address);
        c.send(bytes(10));
        c.send(bytes(50_MiB));
      },
      l.address());
  const auto c = l.accept<bytes>();
  EXPECT_EQ(c.receive()->size(), 10U);
  const int descriptor = c.native_handle();
  EXPECT_EQ(tandem::wait_any(std::tie(descriptor)), 0U);  // the large one has begun, and has no end while nobody reads
  p.kill();
  EXPECT_THROW(c.receive(), tandem::broken_connection);
}

TYPED_TEST(sockets, connections_go_to_other_processes) {
  listener l(TypeParam::address());
  const auto client = connect<int>(l.address());
  auto server = l.accept<int>();
  tandem::process p(
      [](const connection<int, int>& c) {
        while (const auto n = c.receive()) c.send(*n + 1);
      },
      server);
  server.close();
  for (int i = 0; i < 5; ++i) {
    client.send(i);
    EXPECT_EQ(client.receive(), i + 1);
  }
  p.kill();
  p.join();
  EXPECT_FALSE(client.receive());
}

TYPED_TEST(sockets, handles_cross_unix_and_not_tcp) {
  listener l(TypeParam::address());
  using carried = tandem::sender<int>;
  if (TypeParam::is_tcp) {
    EXPECT_THROW((connect<carried, int>(l.address())), std::invalid_argument);
    EXPECT_THROW((l.accept<int, carried>()), std::invalid_argument);
    return;
  }
  const auto client = connect<carried, int>(l.address());
  const auto server = l.accept<int, carried>();
  auto [rx, tx] = tandem::make_pipe<int>();
  client.send(tx);
  server.receive()->send(7);
  EXPECT_EQ(rx.receive(), 7);
}

TYPED_TEST(sockets, are_not_ready_because_somebody_else_receives) {
  listener l(TypeParam::address());
  const auto c = connect<int>(l.address());
  const auto s = l.accept<int>();
  std::atomic<pid_t> receiver{0};
  tandem::thread t([&] {
    receiver = static_cast<pid_t>(::syscall(SYS_gettid));
    return c.receive();
  });
  const auto waits = [&] {
    std::ifstream file("/proc/self/task/" + std::to_string(receiver) + "/stat");
    const std::string stat(std::istreambuf_iterator<char>(file), {});
    return receiver != 0 && stat.find(") S ") != std::string::npos;
  };
  ASSERT_TRUE(tandem::test::eventually(waits));
  EXPECT_FALSE(c.poll());
  EXPECT_FALSE(c.poll(5ms));
  EXPECT_EQ(tandem::wait_any(std::tie(c), 5ms), std::nullopt);
  s.send(1);
  EXPECT_EQ(t.get(), 1);
  s.send(2);
  EXPECT_TRUE(c.poll(20s));
  EXPECT_EQ(c.receive(), 2);
}

// Messages of a size that the kernel's buffer has room for some of.
TYPED_TEST(sockets, a_message_that_is_late_was_not_sent_at_all) {
  listener l(TypeParam::address());
  const auto c = connect<std::string>(l.address());
  const auto s = l.accept<std::string>();
  int sent = 0;
  const auto text = [](int n) {
    return std::to_string(n) + std::string(3000 + static_cast<std::size_t>(n) % 7 * 501, 'x');
  };
  for (const auto time : {tandem::nanoseconds(0), tandem::nanoseconds(1), tandem::nanoseconds(5ms)}) {
    while (c.send_for(text(sent), time)) ++sent;
    EXPECT_FALSE(c.send_for(text(sent), time));
    while (c.try_send(text(sent))) ++sent;
  }
  for (int n = 0; n < sent; ++n) ASSERT_EQ(s.receive(), text(n));
  EXPECT_TRUE(c.send_for("and on", 20s));
  EXPECT_EQ(s.receive(), "and on");
}

TYPED_TEST(sockets, many_threads_share_one_connection) {
  listener l(TypeParam::address());
  const auto client = connect<std::string>(l.address());
  const auto server = l.accept<std::string>();
  std::vector<tandem::thread<void>> all;
  for (int i = 0; i < 4; ++i) {
    all.emplace_back([&client, i] {
      for (int n = 0; n < 50; ++n) client.send(std::string(n % 2 == 0 ? 10U : 40'000U, static_cast<char>('a' + i)));
    });
  }
  for (int n = 0; n < 200; ++n) {
    const auto text = server.receive();
    ASSERT_TRUE(text);
    EXPECT_EQ(text->find_first_not_of((*text)[0]), std::string::npos);
  }
}

// ---- addresses ----------------------------------------------------------------------------------------------------

TEST_F(socket_test, what_is_no_address_is_refused_with_advice) {
  for (const char* text :
       {"", "unix:", "file:/x", "tcp://", "tcp://host", "tcp://host:", "tcp://:80", "tcp://host:port",
        "tcp://host:70000", "tcp://::1:80", "tcp://[::1:80", "tcp://host:-1", "tcp:/host:1", "/path"}) {
    for (const bool listens : {true, false}) {
      try {
        if (listens) {
          listener l(text);
        } else {
          connect<int>(text);
        }
        ADD_FAILURE() << text;
      } catch (const std::invalid_argument& e) {
        EXPECT_NE(std::string(e.what()).find("unix:/path"), std::string::npos) << e.what();
      }
    }
  }
  const std::string limit = "/tmp/" + std::string(102, 'x');
  EXPECT_THROW(listener("unix:" + limit + "x"), std::invalid_argument);
  listener just("unix:" + limit);
  const auto c = connect<int>(just.address());
  EXPECT_THROW(listener("tcp://no.such.host.invalid:1"), std::invalid_argument);
  EXPECT_THROW(connect<int>("tcp://no.such.host.invalid:1"), tandem::broken_connection);
  EXPECT_THROW(connect<int>("unix:@"), std::invalid_argument);
}

TEST_F(socket_test, say_where_they_listen) {
  listener tcp("tcp://localhost:0");
  EXPECT_TRUE(tcp.address().starts_with("tcp://localhost:"));
  EXPECT_FALSE(tcp.address().ends_with(":0"));
  listener v6("tcp://[::1]:0");
  EXPECT_TRUE(v6.address().starts_with("tcp://[::1]:"));
  listener chosen("unix:@");
  EXPECT_GT(chosen.address().size(), 6U);
  listener named("unix:@tandem test " + std::to_string(::getpid()));
  EXPECT_EQ(named.address(), "unix:@tandem test " + std::to_string(::getpid()));
}

TEST_F(socket_test, a_file_is_for_its_user_and_goes_with_the_listener) {
  const std::string path = path_of("mode");
  const mode_t before = ::umask(0);
  {
    listener l("unix:" + path);
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    const pid_t child = ::fork();
    if (child == 0) {
      l.close();  // of the copy: the file stays
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(fs::exists(path));
  }
  ::umask(before);
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(socket_test, a_file_goes_also_where_the_program_has_gone_elsewhere) {
  const fs::path before = fs::current_path();
  const fs::path folder = path_of("folder");
  fs::create_directory(folder);
  fs::current_path(folder);
  {
    listener l("unix:socket", {.key = "k"});
    EXPECT_TRUE(fs::exists(folder / "socket"));
    // One of its own program is known under each of its names, and need not accept meanwhile.
    const auto client = connect<int>("unix:" + (folder / "." / "socket").string(), {.key = "k"});
    client.send(1);
    EXPECT_EQ(l.accept<int>().receive(), 1);
    fs::current_path(before);
  }
  EXPECT_FALSE(fs::exists(folder / "socket"));
  fs::remove_all(folder);
}

TEST_F(socket_test, a_file_that_was_left_behind_is_replaced_and_any_other_is_not) {
  const std::string path = path_of("stale");
  tandem::process p(
      [](const std::string& at) {
        static listener l("unix:" + at);
        ::_exit(0);  // as one that was killed: the file stays
      },
      path);
  p.join();
  ASSERT_TRUE(fs::exists(path));
  {
    listener l("unix:" + path);
    const auto c = connect<int>(l.address());
  }
  EXPECT_FALSE(fs::exists(path));
  std::ofstream(path) << "a file of somebody";
  EXPECT_THROW(listener("unix:" + path), tandem::resource_exhausted);
  EXPECT_TRUE(fs::exists(path));
  fs::remove(path);
  EXPECT_THROW(listener("unix:/no/such/folder/x"), tandem::resource_exhausted);
  EXPECT_THROW(connect<int>("unix:" + path), tandem::broken_connection);
}

TEST_F(socket_test, a_file_for_any_user_lets_others_in) {
  const std::string path = path_of("any");
  const mode_t before = ::umask(077);
  listener l("unix:" + path, {.any_user = true});
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0666U);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::getuid() == 0 && ::setuid(61002) != 0) ::_exit(2);
    try {
      ::_exit(connect<int>("unix:" + path, {.any_user = true}).receive() == 7 ? 0 : 1);
    } catch (const tandem::error&) {
      ::_exit(3);
    }
  }
  l.accept<int>().send(7);
  int ended = 0;
  ::waitpid(child, &ended, 0);
  EXPECT_EQ(ended, 0);
}

// Everybody can lock a folder that he may read.
TEST_F(socket_test, a_folder_that_somebody_keeps_locked_holds_nobody_up) {
  const std::string folder = path_of("locked");
  fs::create_directory(folder);
  const std::string address = "unix:" + folder + "/socket";
  const tandem::file_descriptor others(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::optional<listener> l(std::in_place, address);
  ASSERT_EQ(::flock(others.get(), LOCK_EX), 0);
  l.reset();
  EXPECT_FALSE(fs::exists(folder + "/socket"));
  try {
    l.emplace(address, socket_options{.handshake_deadline = 50ms});
    ADD_FAILURE() << "listens";
  } catch (const tandem::resource_exhausted& e) {
    EXPECT_NE(std::string(e.what()).find("locked"), std::string::npos) << e.what();
  }
  // One that is let go in time is waited for.
  tandem::thread t([&] { ::flock(others.get(), LOCK_UN); });
  l.emplace(address, socket_options{.handshake_deadline = 20s});
  t.join();
  l.reset();
  fs::remove_all(folder);
}

TEST_F(socket_test, a_listener_that_replaced_another_keeps_its_file) {
  const std::string path = path_of("replaced");
  listener first("unix:" + path);
  fs::remove(path);
  listener second("unix:" + path);
  first.close();
  EXPECT_TRUE(fs::exists(path));
  const auto c = connect<int>(second.address());
}

// The deadline of the handshake is none of what comes after it.
TEST_F(socket_test, who_was_accepted_late_waits_for_messages_as_any_other) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    listener l(where);
    const auto c = connect<int>(l.address(), {.handshake_deadline = 500ms});
    std::vector<tandem::thread<std::optional<int>>> waiting;
    for (int i = 0; i < 2; ++i) waiting.emplace_back([&] { return c.receive(); });
    const auto s = l.accept<int>();
    EXPECT_FALSE(s.poll(700ms));
    s.send(7);
    s.send(7);
    for (auto& t : waiting) EXPECT_EQ(t.get(), 7);
  }
}

TEST_F(socket_test, a_first_message_that_is_too_large_fails_where_it_is_received) {
  for (const char* where : {"unix:@", "tcp://127.0.0.1:0"}) {
    listener l(where);
    tandem::thread t([&] {
      const auto s = l.accept<std::string>();
      s.send(std::string(5000, 'x'));
      s.receive_bytes();
    });
    const auto c = connect<std::string>(l.address(), {.max_message_bytes = 1000});
    EXPECT_THROW(c.receive(), tandem::broken_connection);
    try {
      c.send("done");
    } catch (const tandem::broken_connection&) {  // TCP: it broke both ways
    }
    t.join();
  }
}

TEST_F(socket_test, a_full_backlog_waits_no_longer_than_told) {
  listener l("unix:@", {.backlog = 0});
  std::vector<connection<int, int>> all;
  try {
    for (int i = 0; i < 5; ++i) all.push_back(connect<int>(l.address(), {.handshake_deadline = 200ms}));
    ADD_FAILURE() << "a backlog without an end";
  } catch (const tandem::timed_out&) {
  }
}

}  // namespace
