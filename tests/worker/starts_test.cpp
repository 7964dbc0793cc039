// The ways in which a process starts: from the fork server, as a fresh image, as a copy; and what it is given.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>

#include "os/kernel.hpp"
#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::file_descriptor;
using tandem::process;
using tandem::process_options;
using tandem::start_method;
using testing::HasSubstr;

int set_in_main = 0;
int arguments_in_main = 0;
const pid_t maker_of_globals = ::getpid();
unsigned started_with = 0;

void mark_start() { started_with += 41; }

struct from_server {
  static process_options options() { return {}; }
  static constexpr bool is_copy = false;
};
struct from_fresh_image {
  static process_options options() { return {.start = start_method::spawn}; }
  static constexpr bool is_copy = false;
};
struct from_copy {
  static tandem::fork_options options() { return {}; }
  static constexpr bool is_copy = true;
};

struct start_names {
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, from_server> ? "fork_server" : T::is_copy ? "fork" : "spawn";
  }
};

// ---- what all of them do ------------------------------------------------------------------------------------------

template <class T>
class starts : public tandem::test::checked {};
using all_starts = testing::Types<from_server, from_fresh_image, from_copy>;
TYPED_TEST_SUITE(starts, all_starts, start_names);

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TYPED_TEST(starts, gives_the_value) {
  process p(TypeParam::options(), repeat, "ab", 3);
  EXPECT_EQ(p.get(), "ababab");
  EXPECT_TRUE(p.status()->ok());
  EXPECT_FALSE(p.report());
  EXPECT_THROW(p.get(), std::future_error);
}

TYPED_TEST(starts, carries_large_values) {
  process p(TypeParam::options(), repeat, std::string(100'000, 'x'), 20);
  EXPECT_EQ(p.get(), std::string(2'000'000, 'x'));
}

TYPED_TEST(starts, throws_what_it_threw) {
  process p(TypeParam::options(), [] { throw std::out_of_range("no page"); });
  try {
    p.get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::out_of_range& e) {
    EXPECT_STREQ(e.what(), "no page");
  }
  EXPECT_EQ(p.status()->kind(), tandem::ending::threw);
}

TYPED_TEST(starts, names_every_end) {
  process exited(TypeParam::options(), [] { std::exit(7); });
  EXPECT_THROW(exited.get(), tandem::worker_exited);
  EXPECT_EQ(exited.status()->code(), 7);
  process left(TypeParam::options(), [] { ::_exit(8); });
  EXPECT_THROW(left.get(), tandem::worker_exited);
  EXPECT_EQ(left.status()->code(), 8);
  process crashed(TypeParam::options(), [] { std::abort(); });
  EXPECT_THROW(crashed.get(), tandem::worker_crashed);
  EXPECT_EQ(crashed.status()->signal(), SIGABRT);
  EXPECT_GT(crashed.report()->usage.peak_memory_bytes, 0U);
}

TYPED_TEST(starts, hears_a_stop) {
  process p(TypeParam::options(), [](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return 5;
  });
  EXPECT_TRUE(p.running());
  p.request_stop();
  EXPECT_EQ(p.get(), 5);
}

TYPED_TEST(starts, is_ended_by_a_signal) {
  process p(TypeParam::options(), [] {
    for (;;) ::pause();  // lint: sleep until the signal
  });
  p.terminate();
  EXPECT_THROW(p.get(), tandem::worker_crashed);
  EXPECT_EQ(p.status()->signal(), SIGTERM);
  EXPECT_EQ(p.status()->why(), tandem::cause::requested);
}

TYPED_TEST(starts, has_no_signal_blocked_and_a_group_of_its_own) {
  process p(TypeParam::options(), [] {
    sigset_t blocked;
    ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
    int count = 0;
    for (int signal = 1; signal < NSIG; ++signal) count += ::sigismember(&blocked, signal) == 1 ? 1 : 0;
    return std::pair(count, ::getpgrp() == ::getpid());
  });
  EXPECT_EQ(p.get(), std::pair(0, !TypeParam::is_copy));  // a copy is in the group that the program is in
}

TYPED_TEST(starts, writes_out_every_stream) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "how many threads of a clone are ThreadSanitizer's own cannot be told";
#endif
  std::array<file_descriptor, 2> ends;
  tandem::os::check(tandem::os::pipe_pair(ends), "pipe2");
  process p(
      TypeParam::options(),
      [](std::stop_token, const file_descriptor& end) {  // with a token, hence with a thread of the library
        std::FILE* file = ::fdopen(::dup(end.get()), "w");
        std::fputs("kept until the end", file);
      },
      std::move(ends[1]));
  p.get();
  std::array<char, 64> text{};
  EXPECT_EQ(::read(ends[0].get(), text.data(), text.size()), 18);
}

TYPED_TEST(starts, is_killed_with_all_below) {
  auto options = TypeParam::options();
  options.stop_grace = 0s;
  options.kill_grace = 0s;
  std::array<file_descriptor, 2> told;
  tandem::os::check(tandem::os::pipe_pair(told), "pipe2");
  pid_t grandchild = 0;
  {
    process p(
        options,
        [](const file_descriptor& end) {
          const pid_t child = ::fork();
          if (child == 0) {
            for (;;) ::pause();  // lint: sleep until it is killed
          }
          static_cast<void>(!::write(end.get(), &child, sizeof child));
          for (;;) ::pause();  // lint: sleep until it is killed
        },
        told[1]);
    ASSERT_EQ(::read(told[0].get(), &grandchild, sizeof grandchild), static_cast<long>(sizeof grandchild));
    EXPECT_TRUE(tandem::test::exists(grandchild));
  }
  EXPECT_TRUE(tandem::test::eventually([&] { return !tandem::test::exists(grandchild); }));
}

TYPED_TEST(starts, knows_what_it_is) {
  auto options = TypeParam::options();
  options.name = "the parser of all things";
  process p(options, [] {
    char comm[16] = {};
    file_descriptor file(::open("/proc/self/comm", O_RDONLY));
    static_cast<void>(!::read(file.get(), comm, sizeof comm - 1));  // 15 bytes, and no end of line
    return std::string(comm) + tandem::this_worker::name() + (tandem::this_worker::is_process() ? " yes" : " no") +
           (tandem::this_worker::is_thread() ? " yes" : " no") +
           (tandem::this_worker::parent_alive() ? " yes " : " no ") + std::to_string(tandem::this_worker::id());
  });
  const pid_t id = p.id();
  EXPECT_EQ(p.get(), "the parser of athe parser of all things yes no yes " + std::to_string(id));
}

TYPED_TEST(starts, nests) {
  process p(TypeParam::options(), [] {
    process inner([] { return 3; });
    return inner.get() + 1;
  });
  EXPECT_EQ(p.get(), 4);
}

TYPED_TEST(starts, runs_what_on_worker_start_was_given) {
  process p(TypeParam::options(), [] { return started_with; });
  EXPECT_EQ(p.get(), 41U);
  EXPECT_EQ(started_with, 0U);
  process nested(TypeParam::options(), [] { return process([] { return started_with; }).get(); });
  EXPECT_EQ(nested.get() % 41, 0U);
}

TYPED_TEST(starts, has_the_memory_that_its_method_says) {
  process p(TypeParam::options(), [] { return set_in_main; });
  EXPECT_EQ(p.get(), TypeParam::is_copy ? 2 : 1);
  // A fresh image has made its globals anew, and been through main as far as init(), with the same arguments.
  process q(TypeParam::options(), [] { return std::pair(maker_of_globals == ::getpid(), arguments_in_main); });
  EXPECT_EQ(q.get(), std::pair(std::is_same_v<TypeParam, from_fresh_image>, arguments_in_main));
}

// ---- descriptors --------------------------------------------------------------------------------------------------

file_descriptor note(const std::string& text) {
  file_descriptor file(static_cast<int>(tandem::os::check(tandem::os::anonymous_file("note", 0), "memfd_create")));
  tandem::os::check(tandem::os::write_at(file.get(), std::as_bytes(std::span(text)), 0), "pwrite");
  return file;
}

std::string read_note(const file_descriptor& file) {
  std::string text(static_cast<std::size_t>(tandem::os::size_of(file.get())), '\0');
  tandem::os::check(tandem::os::read_at(file.get(), std::as_writable_bytes(std::span(text)), 0), "pread");
  return text;
}

TYPED_TEST(starts, is_handed_descriptors_and_hands_them_back) {
  process p(
      TypeParam::options(),
      [](const std::vector<file_descriptor>& files, const std::optional<file_descriptor>& none, file_descriptor empty) {
        std::string all = none || empty ? "?" : "";
        for (const file_descriptor& file : files) all += read_note(file);
        return std::pair(note(all), all.size());
      },
      std::vector{note("one "), note("two")}, std::optional<file_descriptor>(), file_descriptor());
  const auto [file, size] = p.get();
  EXPECT_EQ(size, 7U);
  EXPECT_EQ(read_note(file), "one two");
}

TYPED_TEST(starts, is_handed_hundreds_at_once) {
  std::vector<file_descriptor> many;
  for (int i = 0; i < 600; ++i) many.push_back(note(std::to_string(i) + " "));
  std::string expected;
  for (int i = 0; i < 600; ++i) expected += std::to_string(i) + " ";
  process p(
      TypeParam::options(),
      [](std::vector<file_descriptor> files) {
        std::string all;
        for (const file_descriptor& file : files) all += read_note(file);
        return std::pair(all, std::move(files));
      },
      many);
  const auto [all, back] = p.get();
  EXPECT_EQ(all, expected);
  ASSERT_EQ(back.size(), many.size());
  EXPECT_EQ(read_note(back[599]), "599 ");
}

TYPED_TEST(starts, loses_no_descriptor_that_nobody_took) {
  process thrown(
      TypeParam::options(), [](const file_descriptor&) -> file_descriptor { throw std::range_error("no"); }, note("a"));
  EXPECT_THROW(thrown.get(), std::range_error);
  process dropped(TypeParam::options(), [] { return note("b"); });
  dropped.join();
}

// ---- stops --------------------------------------------------------------------------------------------------------

void wait_for(const std::stop_token& token) {
  while (!token.stop_requested()) std::this_thread::yield();
}

TYPED_TEST(starts, hears_a_stop_source_that_it_was_given) {
  tandem::stop_source ours;
  process p(
      TypeParam::options(),
      [](tandem::stop_source theirs) {
        wait_for(theirs.get_token());
        return theirs.stop_requested();
      },
      ours);
  EXPECT_TRUE(ours.request_stop());
  EXPECT_TRUE(p.get());
}

TYPED_TEST(starts, makes_a_request_that_the_program_hears) {
  tandem::stop_source ours;
  process asked(
      TypeParam::options(), [](const tandem::stop_source& s) { wait_for(s.get_token()); }, ours);
  process asking(
      TypeParam::options(), [](tandem::stop_source s) { return s.request_stop(); }, ours);
  EXPECT_TRUE(asking.get());
  wait_for(ours.get_token());
  asked.join();
  EXPECT_FALSE(ours.request_stop());
}

TYPED_TEST(starts, hears_a_stop_that_was_requested_before) {
  tandem::stop_source ours;
  ours.request_stop();
  process p(
      TypeParam::options(), [](const tandem::stop_source& s) { wait_for(s.get_token()); }, ours);
  p.get();
}

TYPED_TEST(starts, asks_another_process_for_a_stop) {
  process worked(TypeParam::options(), [](std::stop_token stop) {
    wait_for(stop);
    return 3;
  });
  process supervisor(
      TypeParam::options(), [](tandem::stop_source s) { s.request_stop(); }, worked.get_stop_source());
  supervisor.get();
  EXPECT_EQ(worked.get(), 3);
}

// ---- where it runs ------------------------------------------------------------------------------------------------

template <class T>
class surroundings : public tandem::test::checked {};
using started_by_server = testing::Types<from_server, from_fresh_image>;
TYPED_TEST_SUITE(surroundings, started_by_server, start_names);

TYPED_TEST(surroundings, are_those_asked_for) {
  process_options options = TypeParam::options();
  options.cwd = "/usr/../usr";
  options.environment = {{"TANDEM_TEST_COLOUR", "blue = sky"}, {"TANDEM_TEST_EMPTY", ""}};
  process p(options, [] {
    const char* colour = std::getenv("TANDEM_TEST_COLOUR");
    const char* empty = std::getenv("TANDEM_TEST_EMPTY");
    const char* path = std::getenv("PATH");
    return std::tuple(std::filesystem::current_path().string(), std::string(colour != nullptr ? colour : "unset"),
                      empty != nullptr && *empty == '\0', path != nullptr,
                      std::getenv("TANDEM_FRESH_IMAGE") == nullptr);
  });
  EXPECT_EQ(p.get(), std::tuple("/usr", "blue = sky", true, true, true));
  EXPECT_EQ(std::getenv("TANDEM_TEST_COLOUR"), nullptr);
  EXPECT_NE(std::filesystem::current_path(), "/usr");
}

TYPED_TEST(surroundings, that_cannot_be_are_refused) {
  const auto start = [](auto change) {
    process_options options = TypeParam::options();
    change(options);
    return process(options, [] {});
  };
  const auto refused_directory = [&start](const std::filesystem::path& path) {
    try {
      start([&path](auto& o) { o.cwd = path; }).get();
    } catch (const std::system_error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr(path.string()));
      return e.code();
    }
    return std::error_code();
  };
  EXPECT_EQ(refused_directory("/no such directory"), std::errc::no_such_file_or_directory);
  EXPECT_EQ(refused_directory("/etc/passwd"), std::errc::not_a_directory);
  if (::geteuid() != 0) {  // root enters all of them
    const std::filesystem::path locked =
        std::filesystem::temp_directory_path() / ("locked" + std::to_string(::getpid()));
    std::filesystem::create_directory(locked);
    std::filesystem::permissions(locked, std::filesystem::perms::none);
    EXPECT_EQ(refused_directory(locked), std::errc::permission_denied);
    std::filesystem::remove(locked);
  }
  EXPECT_THROW(start([](auto& o) { o.environment = {{"", "x"}}; }), std::invalid_argument);
  EXPECT_THROW(start([](auto& o) { o.environment = {{"A=B", "x"}}; }), std::invalid_argument);
  EXPECT_THROW(start([](auto& o) { o.environment = {{"A", std::string("x\0y", 3)}}; }), std::invalid_argument);
  EXPECT_THROW(start([](auto& o) { o.name = std::string(300, 'n'); }), std::invalid_argument);
}

TYPED_TEST(surroundings, keep_the_end_of_standard_error) {
  process_options options = TypeParam::options();
  options.capture_stderr = true;
  process p(options, [] {
    const std::string line = "line of the worker\n";
    for (int i = 0; i < 500; ++i) static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
    std::fputs("the last words", stderr);
    std::abort();
  });
  EXPECT_THROW(p.get(), tandem::worker_crashed);
  const std::string end = p.report()->standard_error;
  EXPECT_EQ(end.size(), 4096U);
  EXPECT_THAT(end, testing::EndsWith("line of the worker\nthe last words"));
  EXPECT_THAT(p.report()->to_string(), HasSubstr("the last words"));
  process quiet(TypeParam::options(), [] {
    std::fputs("not kept\n", stderr);
    std::abort();
  });
  quiet.join();
  EXPECT_EQ(quiet.report()->standard_error, "");
}

// ---- copies -------------------------------------------------------------------------------------------------------

class copies : public tandem::test::checked {};

TEST_F(copies, see_captures_pointers_and_references) {
  std::vector<int> numbers{1, 2, 3};
  int* first = numbers.data();
  process p(tandem::fork_options{.name = "snapshot"}, [&numbers, first] {
    numbers.push_back(*first + 10);
    return numbers;
  });
  EXPECT_EQ(p.get(), (std::vector{1, 2, 3, 11}));
  EXPECT_EQ(numbers.size(), 3U);
}

TEST_F(copies, refuse_other_threads_by_name) {
  std::jthread other([](const std::stop_token& token) {
    while (!token.stop_requested()) std::this_thread::yield();
  });
  try {
    process p(tandem::fork_options{}, [] {});
    ADD_FAILURE() << "it started";
  } catch (const tandem::unsafe_fork& e) {
    EXPECT_THAT(e.what(), HasSubstr("other threads run"));
    EXPECT_THAT(e.what(), HasSubstr(".allow_threads = true"));
  }
  process p(tandem::fork_options{.allow_threads = true}, [] { return std::string(100, 'x').size(); });
  EXPECT_EQ(p.get(), 100U);
}

TEST_F(copies, are_not_the_programs_to_wait_for) {
  process p(tandem::fork_options{}, [] { return 6; });
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  ::signal(SIGCHLD, SIG_IGN);
  process q(tandem::fork_options{}, [] { ::_exit(9); });
  q.join();
  ::signal(SIGCHLD, SIG_DFL);
  EXPECT_EQ(q.status()->code(), 9);
  EXPECT_EQ(p.get(), 6);
}

TEST_F(copies, whose_exit_status_was_taken_blame_nobody) {
  std::jthread other([](const std::stop_token& token) {
    while (!token.stop_requested()) std::this_thread::yield();
  });
  ::signal(SIGCHLD, SIG_IGN);     // the kernel takes it, since a copy of a program with threads sends the signal
  for (int i = 0; i < 30; ++i) {  // some have ended before fork() has returned
    process q(tandem::fork_options{.allow_threads = true}, [] { ::_exit(9); });
    q.join();
    EXPECT_EQ(q.status()->why(), tandem::cause::none);
    EXPECT_THAT(q.report()->message, HasSubstr("its exit status is gone"));
  }
  ::signal(SIGCHLD, SIG_DFL);
}

TEST_F(copies, map_no_page_of_other_workers) {
  process p(tandem::fork_options{}, [] {
    int pages = 0;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      // The session page is everybody's.
      if (line.find("/memfd:tandem") == std::string::npos || line.find("session") != std::string::npos) continue;
      unsigned long from = 0;
      unsigned long to = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx", &from, &to) == 2) pages += static_cast<int>((to - from) / 4096);
    }
    return pages;
  });
  EXPECT_EQ(p.get(), 1);
}

// ---- many ---------------------------------------------------------------------------------------------------------

class many_starts : public tandem::test::checked {};

TEST_F(many_starts, hand_ten_thousand_descriptors_over_in_turn) {
  for (int i = 0; i < 100; ++i) {
    std::vector<file_descriptor> hundred(100, note(std::to_string(i)));
    process p([](std::vector<file_descriptor> files) { return std::pair(read_note(files.back()), std::move(files)); },
              hundred);
    const auto [text, back] = p.get();
    ASSERT_EQ(text, std::to_string(i));
    ASSERT_EQ(back.size(), 100U);
  }
}

TEST_F(many_starts, end_together) {
  std::vector<process<void>> units;
  for (int i = 0; i < 6; ++i) {
    units.emplace_back(
        process_options{.stop_grace = 50ms, .kill_grace = 50ms},
        [](int number) {
          if (number % 2 == 0) ::signal(SIGTERM, SIG_IGN);
          for (;;) ::pause();  // lint: sleep until it is killed
        },
        i);
  }
  units.emplace_back();
  units.emplace_back([](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
  });
  tandem::stop_all(units);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_FALSE(units[i].joinable());
    EXPECT_EQ(units[i].status()->why(), tandem::cause::requested);
  }
  EXPECT_TRUE(units[7].status()->ok());
  std::vector<tandem::thread<int>> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([](std::stop_token stop) {
      while (!stop.stop_requested()) std::this_thread::yield();
      return 1;
    });
  }
  tandem::stop_all(threads);
  for (auto& t : threads) EXPECT_EQ(t.get(), 1);
}

}  // namespace

int main(int argc, char** argv) {
  arguments_in_main = argc;
  set_in_main = 1;
  tandem::init();
  set_in_main = 2;
  tandem::on_worker_start(mark_start);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
