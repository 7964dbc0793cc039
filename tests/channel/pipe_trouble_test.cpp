// Pipes in trouble: deaths, handles, hostile peers, signals.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

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
class pipes_in_trouble : public tandem::test::checked {};
TYPED_TEST_SUITE(pipes_in_trouble, tandem::test::both, tandem::test::unit_names);
class pipe_trouble : public tandem::test::checked {};

struct numbered {
  int who = 0;
  int number = 0;
  bytes load;
};

// ---- deaths -------------------------------------------------------------------------------------------------------

TEST_F(pipe_trouble, a_sender_that_is_killed_costs_no_other) {
  auto [rx, tx] = make_pipe<numbered>();
  for (int round = 0; round < 10; ++round) {
    tandem::process dies(
        [](const sender<numbered>& out, int n) {
          for (int i = 0;; ++i) out.send({1, i, bytes(n % 2 == 0 ? 3'000'000 : 3'000, std::byte{1})});
        },
        tx, round);
    tandem::process lives(
        [](const sender<numbered>& out) {
          for (int i = 0; i < 20; ++i) out.send({2, i, bytes(i % 2 == 0 ? 100'000 : 100, std::byte{2})});
        },
        tx);
    int dead_ones = 0;
    int broken = 0;
    for (int seen = 0; seen < 20;) {
      try {
        const auto m = rx.receive();
        ASSERT_TRUE(m);
        for (const std::byte b : m->load) ASSERT_EQ(b, static_cast<std::byte>(m->who));
        if (m->who == 2) {
          EXPECT_EQ(m->number, seen++);
        } else if (++dead_ones == 3 + round % 3) {
          dies.kill();
        }
      } catch (const tandem::broken_connection&) {
        ++broken;
      }
    }
    dies.kill();
    dies.join();
    while (rx.poll()) {  // what the dead one had sent is there, whole; at most one message of it is not
      try {
        EXPECT_TRUE(rx.receive());
      } catch (const tandem::broken_connection&) {
        ++broken;
      }
    }
    EXPECT_LE(broken, 1);
  }
}

TEST_F(pipe_trouble, a_sender_that_dies_inside_a_message_is_told_and_then_the_end) {
  auto [rx, tx] = make_pipe<bytes>();
  tandem::process p([](const sender<bytes>& out) { out.send(bytes(100_MiB)); }, std::move(tx));
  tx.close();
  EXPECT_TRUE(rx.poll(20s));
  EXPECT_FALSE(rx.receive_for(0s));  // begun
  p.kill();
  p.join();
  EXPECT_THROW(rx.receive(), tandem::broken_connection);
  EXPECT_FALSE(rx.receive());
}

TEST_F(pipe_trouble, a_receiver_that_is_killed_costs_one_message) {
  auto [rx, tx] = make_pipe<int>();
  tandem::process dies(
      [](const receiver<int>& in) {
        while (in.receive()) {
        }
      },
      rx);
  for (int i = 0; i < 100; ++i) tx.send(i);
  dies.kill();
  dies.join();
  tx.send(-1);
  for (;;) {
    const auto n = rx.receive();
    ASSERT_TRUE(n);
    if (*n == -1) break;
  }
}

TEST_F(pipe_trouble, a_receiver_that_dies_inside_a_message_does_not_hold_up_the_sender) {
  auto [rx, tx] = make_pipe<bytes>();
  tandem::process dies(
      [](const receiver<bytes>& in) {
        in.poll(20s);
        in.receive_for(0s);
        ::raise(SIGKILL);
      },
      rx);
  const bytes large(50_MiB);
  tx.send(large);  // it went with the dead one
  dies.join();
  tx.send(bytes(3, std::byte{3}));
  EXPECT_EQ(rx.receive(), bytes(3, std::byte{3}));
}

// ---- handles ------------------------------------------------------------------------------------------------------

TYPED_TEST(pipes_in_trouble, ends_travel_through_pipes) {
  auto [rx, tx] = make_pipe<std::pair<receiver<std::string>, sender<std::string>>>();
  auto u = TypeParam::start(
      [](const receiver<std::pair<receiver<std::string>, sender<std::string>>>& in) {
        while (auto pair = in.receive()) {
          while (auto text = pair->first.receive()) pair->second.send(*text + "!");
        }
      },
      std::move(rx));
  rx.close();
  for (int i = 0; i < 3; ++i) {
    auto [question_rx, question_tx] = make_pipe<std::string>();
    auto [answer_rx, answer_tx] = make_pipe<std::string>();
    tx.send({question_rx, answer_tx});
    question_rx.close();
    answer_tx.close();
    question_tx.send("hello");
    question_tx.close();
    EXPECT_EQ(answer_rx.receive(), "hello!");
    EXPECT_FALSE(answer_rx.receive());
  }
  tx.close();
  u.get();
}

TEST_F(pipe_trouble, every_handle_travels) {
  struct all {
    tandem::file_descriptor file;
    tandem::stop_source stop;
    connection<int, int> duplex;
    sender<connection<int, int>> nested;
    receiver<int> closed;
  };
  static_assert(tandem::carries_handles<all>);
  auto [rx, tx] = make_pipe<all>();
  auto [a, b] = make_duplex<int, int>();
  auto [nrx, ntx] = make_pipe<connection<int, int>>();
  tandem::stop_source stop;
  tandem::process p(
      [](const receiver<all>& in) {
        auto got = in.receive();
        got->duplex.send(got->duplex.receive().value() + 1);
        auto [x, y] = make_duplex<int, int>();
        got->nested.send(x);
        x.close();
        got->stop.request_stop();
        struct stat status {};
        return ::fstat(got->file.get(), &status) == 0 && S_ISFIFO(status.st_mode) &&
               got->closed.native_handle() == -1 && y.receive() == 5;
      },
      rx);
  std::array<int, 2> raw{};
  ASSERT_EQ(::pipe2(raw.data(), O_CLOEXEC), 0);
  tandem::file_descriptor one(raw[0]);
  const tandem::file_descriptor other(raw[1]);
  tx.send({one, stop, b, ntx, {}});
  a.send(41);
  EXPECT_EQ(a.receive(), 42);
  auto x = nrx.receive();
  ASSERT_TRUE(x);
  x->send(5);
  EXPECT_TRUE(p.get());
  EXPECT_TRUE(tandem::test::eventually([&] { return stop.stop_requested(); }));
}

TEST_F(pipe_trouble, handles_in_any_number) {
  const tandem::file_descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  auto [rx, tx] = make_pipe<std::pair<std::vector<tandem::file_descriptor>, bytes>>();
  for (const std::size_t count : {0UL, 1UL, 252UL, 253UL, 254UL, 700UL}) {
    for (const std::size_t size : {0UL, 64_KiB, 300_KiB}) {
      tandem::thread t([&, &out = tx] {
        out.send({std::vector<tandem::file_descriptor>(count, null), bytes(size, std::byte{7})});
      });
      const auto got = rx.receive();
      ASSERT_TRUE(got);
      EXPECT_EQ(got->first.size(), count);
      EXPECT_TRUE(got->second == bytes(size, std::byte{7}));
      for (const auto& fd : got->first) {
        struct stat status {};
        ASSERT_EQ(::fstat(fd.get(), &status), 0);
        EXPECT_TRUE(S_ISCHR(status.st_mode));
      }
      t.get();
    }
  }
  EXPECT_TRUE(tx.try_send({std::vector<tandem::file_descriptor>(400, null), pattern(1_MiB)}));
  EXPECT_EQ(rx.receive_for(0s)->first.size(), 400U);
}

TEST_F(pipe_trouble, handles_of_a_message_that_is_not_received_are_closed) {
  auto [rx, tx] = make_pipe<receiver<int>>();
  auto [inner_rx, inner_tx] = make_pipe<int>();
  tx.send(inner_rx);
  inner_rx.close();
  inner_tx.send(1);  // it is in the other pipe
  rx.close();
  EXPECT_THROW(inner_tx.send(1), tandem::broken_connection);
}

TEST_F(pipe_trouble, handles_that_bytes_take_are_closed) {
  auto [rx, tx] = make_pipe<receiver<int>>();
  auto [inner_rx, inner_tx] = make_pipe<int>();
  tx.send(inner_rx);
  inner_rx.close();
  EXPECT_TRUE(rx.receive_bytes());
  EXPECT_THROW(inner_tx.send(1), tandem::broken_connection);
}

TEST_F(pipe_trouble, an_end_that_holds_a_message_is_not_passed_on) {
  auto [rx, tx] = make_pipe<std::string>();
  auto [carrier_rx, carrier_tx] = make_pipe<receiver<std::string>>();
  tx.send("too long for that");
  bytes room(4);
  EXPECT_THROW(rx.receive_bytes_into(room), std::length_error);
  EXPECT_THROW(carrier_tx.send(rx), tandem::error);
  EXPECT_EQ(rx.receive(), "too long for that");
  carrier_tx.send(rx);
}

// ---- hostile peers: one that has an end, and writes what it likes -------------------------------------------------------

void write_raw(int fd, std::span<const std::byte> packet, int descriptor = -1) {
  iovec part{const_cast<std::byte*>(packet.data()), packet.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptor >= 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
  }
  ASSERT_EQ(::sendmsg(fd, &header, 0), static_cast<ssize_t>(packet.size()));
}

// A frame, as src/channel/frame.hpp has it.
bytes frame(std::uint64_t length, std::uint8_t apart = 0, std::uint64_t handles = 0, std::uint16_t magic = 0x7d54,
            std::uint8_t version = 1, std::uint8_t kind = 1) {
  bytes made(24);
  std::memcpy(made.data(), &magic, 2);
  made[2] = std::byte{version};
  made[3] = std::byte{kind};
  made[4] = std::byte{apart};
  std::memcpy(made.data() + 8, &handles, 8);
  std::memcpy(made.data() + 16, &length, 8);
  return made;
}

TEST_F(pipe_trouble, what_is_no_message_is_an_error_and_nothing_more) {
  auto [rx, tx] = make_pipe<std::string>();
  const tandem::file_descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto with = [](bytes b, std::size_t more) {
    b.resize(b.size() + more);
    return b;
  };
  const std::vector<bytes> wrong = {
      bytes(1),
      bytes(23),
      bytes(24),
      with(bytes(24, std::byte{0xff}), 100),
      frame(1),
      with(frame(1), 2),
      frame(0, 0, 1),
      frame(std::uint64_t{1} << 63),
      frame(0, 0, std::uint64_t{1} << 63),
      frame(0, 0, 0, 0x547d),
      frame(0, 0, 0, 0x7d54, 2),
      frame(0, 0, 0, 0x7d54, 1, 0),
      frame(0, 0, 0, 0x7d54, 1, 2),
      frame(0, 0, 0, 0x7d54, 1, 3),
      frame(0, 0, 0, 0x7d54, 1, 200),
      frame(100'000, 1),
      frame(0, 2, 300),
      frame(100'000, 3, 300),
      with(frame(64_KiB), 70'000),
  };
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    SCOPED_TRACE(i);
    write_raw(tx.native_handle(), wrong[i]);
    EXPECT_THROW(rx.receive(), tandem::broken_connection);
    if (wrong[i] == frame(0, 0, 1)) continue;  // one it is, with its handle
    write_raw(tx.native_handle(), wrong[i], null.get());
    EXPECT_THROW(rx.receive_for(1s), tandem::broken_connection);
  }
  tx.send("goes on");
  EXPECT_EQ(rx.receive(), "goes on");
}

TEST_F(pipe_trouble, what_carries_no_payload_is_refused) {
  auto [rx, tx] = make_pipe<std::string>();
  std::array<int, 2> raw{};
  // A file in memory that claims to be large: not sealed, or without pages.
  for (const unsigned flags : {0U, 2U}) {
    const int file = static_cast<int>(::memfd_create("x", flags));
    ASSERT_EQ(::ftruncate(file, 1L << 40), 0);
    if (flags != 0) ::fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    write_raw(tx.native_handle(), frame(std::uint64_t{1} << 40, 1), file);
    ::close(file);
    EXPECT_THROW(rx.receive(), tandem::broken_connection);
  }
  // A stream that ends, or is not one.
  ASSERT_EQ(::pipe2(raw.data(), O_CLOEXEC), 0);
  write_raw(tx.native_handle(), frame(100'000, 1), raw[0]);
  EXPECT_THROW(rx.receive(), tandem::broken_connection);
  ::close(raw[0]);
  ::close(raw[1]);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, raw.data()), 0);
  write_raw(tx.native_handle(), frame(std::uint64_t{1} << 62, 1), raw[0]);
  ASSERT_EQ(::write(raw[1], "some", 4), 4);
  EXPECT_THROW(rx.receive_for(1ms), tandem::broken_connection);
  ::close(raw[0]);
  ::close(raw[1]);
  EXPECT_FALSE(rx.poll());
}

long resident_pages() {
  std::ifstream statm("/proc/self/statm");
  long size = 0;
  long resident = 0;
  statm >> size >> resident;
  return resident;
}

TEST_F(pipe_trouble, a_length_that_is_not_kept_costs_no_memory) {
  auto [rx, tx] = make_pipe<std::string>();
  std::array<int, 2> raw{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, raw.data()), 0);
  write_raw(tx.native_handle(), frame(4_GiB, 1), raw[0]);
  ::close(raw[0]);
  const long before = resident_pages();
  ASSERT_EQ(::write(raw[1], "some", 4), 4);
  EXPECT_FALSE(rx.receive_for(1ms));
  EXPECT_LT(resident_pages() - before, 4096);  // 16 MiB
  ::close(raw[1]);
  EXPECT_THROW(rx.receive(), tandem::broken_connection);
}

// ---- signals ------------------------------------------------------------------------------------------------------

TEST_F(pipe_trouble, signals_do_not_disturb) {
  struct sigaction action {};
  struct sigaction before {};
  static std::atomic<int> heard{0};
  heard = 0;
  action.sa_handler = [](int) { heard.fetch_add(1); };  // without SA_RESTART
  ::sigaction(SIGUSR1, &action, &before);
  auto [rx, tx] = make_pipe<bytes>();
  std::atomic<bool> done{false};
  tandem::thread writer([&out = tx] {
    for (int i = 0; i < 30; ++i) out.send(pattern(i % 2 == 0 ? 2'000'000 : 60'000, static_cast<unsigned>(i)));
  });
  const pthread_t target = writer.native_handle();
  const pthread_t self = ::pthread_self();
  std::atomic<bool> receiving{false};  // a storm of signals would leave no time for anything else
  tandem::thread shooter([&] {
    while (!done) {
      if (receiving) ::pthread_kill(self, SIGUSR1);
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 30; ++i) {
    ::pthread_kill(target, SIGUSR1);
    receiving = true;
    const auto got = i % 3 == 0 ? rx.receive_for(1h) : rx.receive();
    receiving = false;
    ASSERT_TRUE(got);
    EXPECT_TRUE(*got == pattern(i % 2 == 0 ? 2'000'000 : 60'000, static_cast<unsigned>(i)));
  }
  writer.join();
  EXPECT_FALSE(rx.receive_for(5ms));
  done = true;
  shooter.join();
  EXPECT_GT(heard.load(), 0);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(pipe_trouble, sigpipe_never_reaches_the_program) {
  struct sigaction action {};
  struct sigaction before {};
  static std::atomic<int> heard{0};
  action.sa_handler = [](int) { heard.fetch_add(1); };
  ::sigaction(SIGPIPE, &action, &before);
  auto [rx, tx] = make_pipe<bytes>();
  rx.close();
  EXPECT_THROW(tx.send(bytes(1)), tandem::broken_connection);
  EXPECT_THROW(tx.send(bytes(1_MiB)), tandem::broken_connection);
  EXPECT_EQ(heard.load(), 0);
  ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_F(pipe_trouble, work_on_a_descriptor_that_does_not_block) {
  auto [rx, tx] = make_pipe<bytes>();
  for (const int fd : {rx.native_handle(), tx.native_handle()}) ::fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
  tandem::thread t([&out = tx] {
    for (int i = 0; i < 100; ++i) out.send(pattern(10'000));
  });
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(rx.receive() == pattern(10'000));
}

// What is decoded receives something itself.
struct nesting {
  int value = 0;
};

}  // namespace

namespace {
receiver<int>* inner = nullptr;
}
template <>
struct tandem::transfer<nesting> {
  static void write(writer& w, const nesting& n) { w(n.value); }
  static nesting read(reader& r) {
    nesting n;
    const auto received = inner->receive();
    r(n.value);
    n.value += *received;
    return n;
  }
};

namespace {

TEST_F(pipe_trouble, what_decodes_may_receive) {
  auto [inner_rx, inner_tx] = make_pipe<int>();
  auto [rx, tx] = make_pipe<nesting>();
  inner = &inner_rx;
  inner_tx.send(100);
  tx.send({5});
  EXPECT_EQ(rx.receive()->value, 105);
}

}  // namespace
