// The thin functions over the kernel, where they add something to it.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include "os/kernel.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
namespace os = tandem::os;
using tandem::file_descriptor;

class kernel : public tandem::test::checked {};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

file_descriptor null() { return file_descriptor(os::open_null()); }

TEST_F(kernel, descriptors_are_owned) {
  file_descriptor a = null();
  ASSERT_TRUE(a);
  file_descriptor b = a;
  EXPECT_NE(a.get(), b.get());
  EXPECT_EQ(::fcntl(b.get(), F_GETFD), FD_CLOEXEC);
  file_descriptor c = std::move(a);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): that is what is tested
  b = c;
  c = std::move(b);
  c = *&c;
  EXPECT_TRUE(c);
  const int raw = c.release();
  EXPECT_FALSE(c);
  ::close(raw);
  EXPECT_FALSE(file_descriptor());
  EXPECT_FALSE(file_descriptor(-1));
}

TEST_F(kernel, a_copy_that_cannot_be_made_says_so) {
  const file_descriptor one = null();
  rlimit old{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  rlimit none = old;
  none.rlim_cur = 3;
  ::setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_THROW(file_descriptor copy(one), tandem::resource_exhausted);
  ::setrlimit(RLIMIT_NOFILE, &old);
}

TEST_F(kernel, messages_keep_their_boundaries_and_carry_descriptors) {
  std::array<file_descriptor, 2> ends;
  ASSERT_EQ(os::socket_pair(ends), 0);
  const file_descriptor sent = null();
  const int fd = sent.get();
  EXPECT_EQ(os::send(ends[0].get(), {bytes_of("one"), bytes_of("+two")}, std::span(&fd, 1)), 0);
  EXPECT_EQ(os::send(ends[0].get(), {bytes_of("three")}), 0);
  std::array<std::byte, 64> buffer;
  os::message first = os::receive(ends[1].get(), buffer);
  EXPECT_EQ(first.size, 7);
  EXPECT_EQ(first.descriptors.size(), 1U);
  EXPECT_TRUE(first.descriptors[0]);
  EXPECT_EQ(os::receive(ends[1].get(), buffer).size, 5);
  ends[0] = {};
  EXPECT_EQ(os::receive(ends[1].get(), buffer).size, 0);
  EXPECT_EQ(os::send(ends[1].get(), {bytes_of("x")}), -EPIPE);  // and no SIGPIPE
}

TEST_F(kernel, a_message_that_is_too_long_is_an_error_and_leaks_nothing) {
  std::array<file_descriptor, 2> ends;
  ASSERT_EQ(os::socket_pair(ends), 0);
  const file_descriptor sent = null();
  const int fd = sent.get();
  EXPECT_EQ(os::send(ends[0].get(), {bytes_of("too long")}, std::span(&fd, 1)), 0);
  std::array<std::byte, 2> buffer;
  EXPECT_EQ(os::receive(ends[1].get(), buffer).size, -EMSGSIZE);
}

TEST_F(kernel, a_full_table_of_descriptors_is_seen) {
  std::array<file_descriptor, 2> ends;
  ASSERT_EQ(os::socket_pair(ends), 0);
  const file_descriptor sent = null();
  const int fd = sent.get();
  EXPECT_EQ(os::send(ends[0].get(), {bytes_of("x")}, std::span(&fd, 1)), 0);
  rlimit old{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  rlimit none = old;
  none.rlim_cur = 3;
  ::setrlimit(RLIMIT_NOFILE, &none);
  std::array<std::byte, 8> buffer;
  os::message got = os::receive(ends[1].get(), buffer);
  ::setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(got.size, 1);
  EXPECT_TRUE(got.descriptors_lost);
  EXPECT_TRUE(got.descriptors.empty());
}

TEST_F(kernel, nobody_waits_for_a_peer_that_does_not_read) {
  std::array<file_descriptor, 2> ends;
  ASSERT_EQ(os::socket_pair(ends), 0);
  int result = 0;
  for (int i = 0; i < 100'000 && result == 0; ++i) result = os::send_now(ends[0].get(), {bytes_of("again")});
  EXPECT_EQ(result, -EAGAIN);
}

TEST_F(kernel, waits_keep_to_their_deadline) {
  std::array<file_descriptor, 2> ends;
  ASSERT_EQ(os::socket_pair(ends), 0);
  std::vector<os::ready> set(20, os::ready{ends[1].get()});  // more than fit without allocating
  const auto before = tandem::clock::now();
  EXPECT_EQ(os::wait_ready(set, before + 5ms), 0);
  EXPECT_GE(tandem::clock::now(), before + 5ms);
  ends[0] = {};
  EXPECT_EQ(os::wait_ready(set), 20);
  EXPECT_TRUE(set[19].readable);
}

TEST_F(kernel, futexes_wait_and_wake) {
  std::atomic<std::uint32_t> word{0};
  EXPECT_TRUE(os::futex_wait(word, 1));  // it is not 1: no wait
  EXPECT_FALSE(os::futex_wait(word, 0, tandem::clock::now() - 1h));
  std::jthread waker([&] {
    word = 1;
    os::futex_wake_all(word);
  });
  while (word == 0) os::futex_wait(word, 0);
}

TEST_F(kernel, memory_is_sealed_at_its_size) {
  const file_descriptor sized(os::anonymous_file("test", 8192));
  ASSERT_TRUE(sized);
  EXPECT_TRUE(os::sealed_at(sized.get(), 8192));
  EXPECT_FALSE(os::sealed_at(sized.get(), 4096));
  EXPECT_NE(::ftruncate(sized.get(), 0), 0);
  const file_descriptor open_ended(os::anonymous_file("test", 0));
  EXPECT_FALSE(os::sealed_at(open_ended.get(), 0));
  EXPECT_EQ(os::write_at(open_ended.get(), bytes_of("text"), 10), 0);
  EXPECT_EQ(os::size_of(open_ended.get()), 14);
  std::array<std::byte, 4> read;
  EXPECT_EQ(os::read_at(open_ended.get(), read, 10), 0);
  EXPECT_EQ(std::memcmp(read.data(), "text", 4), 0);
  EXPECT_EQ(os::read_at(open_ended.get(), read, 12), -ENODATA);
}

TEST_F(kernel, an_unseen_child_is_seen_by_its_pidfd_only) {
  file_descriptor pidfd;
  const pid_t pid = os::fork_unseen(pidfd);
  if (pid == 0) os::exit_now(7);
  ASSERT_GT(pid, 0);
  std::array<os::ready, 1> set{{{pidfd.get()}}};
  EXPECT_EQ(os::wait_ready(set), 1);
  EXPECT_EQ(::waitpid(-1, nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
  EXPECT_EQ(os::reap(pidfd.get()).value, 7);
}

// A clone behind glibc's back leaves its idea of the thread's id stale, and robust mutexes then never report a death.
int robust_mutex_works() {
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_t mutex;
  ::pthread_mutex_init(&mutex, &attributes);
  pthread_t owner;
  ::pthread_create(
      &owner, nullptr,
      [](void* m) -> void* {
        ::pthread_mutex_lock(static_cast<pthread_mutex_t*>(m));
        return nullptr;
      },
      &mutex);
  ::pthread_join(owner, nullptr);
  if (::pthread_mutex_lock(&mutex) != EOWNERDEAD) return 1;
  // And of this thread itself: an error-checking mutex knows its owner by that id.
  ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_t checked;
  ::pthread_mutex_init(&checked, &attributes);
  if (::pthread_mutex_lock(&checked) != 0 || ::pthread_mutex_lock(&checked) != EDEADLK) return 2;
  return ::pthread_mutex_unlock(&checked);
}

TEST_F(kernel, robust_mutexes_work_in_every_kind_of_copy) {
  file_descriptor pidfd;
  const pid_t pid = os::fork_unseen(pidfd);
  if (pid == 0) os::exit_now(robust_mutex_works());
  ASSERT_GT(pid, 0);
  EXPECT_EQ(os::reap(pidfd.get()).value, 0);
  EXPECT_EQ(tandem::process(robust_mutex_works).get(), 0);
}

TEST_F(kernel, a_joined_thread_is_counted_no_more) {
  const int before = os::thread_count();
  constexpr int tries = 2000;  // the kernel lists some of them for a while after the join
  for (int i = 0; i < tries; ++i) {
    std::thread([] {}).join();
    ASSERT_EQ(os::thread_count(), before) << "after " << i << " threads";
  }
}

TEST_F(kernel, signals_are_kept_away_while_guarded) {
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  {
    const os::signal_guard guard;
    sigset_t during;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &during);
    EXPECT_EQ(::sigismember(&during, SIGTERM), 1);
  }
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(::sigismember(&after, SIGTERM), ::sigismember(&before, SIGTERM));
}

TEST_F(kernel, descriptors_keep_clear_of_closed_standard_ones) {
  const pid_t copy = ::fork();
  if (copy == 0) {
    ::close(0);
    ::close(1);
    std::array<file_descriptor, 2> ends;
    const bool made = os::socket_pair(ends) == 0;
    const file_descriptor memory(os::anonymous_file("test", 4096));
    const file_descriptor pidfd(os::pidfd_of(::getpid()));
    const bool clear = ends[0].get() > 2 && ends[1].get() > 2 && memory.get() > 2 && pidfd.get() > 2;
    ::_exit(made && clear ? 0 : 1);
  }
  int status = 0;
  ::waitpid(copy, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
