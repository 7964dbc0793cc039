// Memory with a name: whoever asks for the name has the same memory, and the last one to leave takes the name away.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "support/fixture.hpp"

namespace {

using tandem::shared_array;
using tandem::shared_memory;

std::string own_name(const std::string& ending) { return "test-" + std::to_string(::getpid()) + ending; }
std::filesystem::path file_of(const std::string& name) { return "/dev/shm/tandem." + name; }

template <class Unit>
class named : public tandem::test::checked {};
TYPED_TEST_SUITE(named, tandem::test::both, tandem::test::unit_names);

TYPED_TEST(named, is_the_same_for_all_who_ask) {
  const std::string name = own_name("a");
  const shared_array<int> first(10, {.name = name});
  first.span()[3] = 5;
  struct stat status {};
  ASSERT_EQ(::stat(file_of(name).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_GE(status.st_blocks * 512, 40);
  auto unit = TypeParam::start(
      [](const std::string& asked) {
        const shared_array<int> second(10, {.name = asked});
        return second.span()[3]++;
      },
      name);
  EXPECT_EQ(unit.get(), 5);
  EXPECT_EQ(first.span()[3], 6);
  EXPECT_TRUE(std::filesystem::exists(file_of(name)));  // whoever only joined took nothing away
}

TYPED_TEST(named, is_gone_with_the_last_handle) {
  const std::string name = own_name("b");
  for (int i = 0; i < 3; ++i) {
    std::optional<shared_array<int>> first(std::in_place, 10U, tandem::memory_options{.name = name});
    EXPECT_EQ(first->span()[0], 0);
    const auto copy = first;
    std::optional<shared_array<int>> second(std::in_place, 10U, tandem::memory_options{.name = name});
    first->span()[0] = 1;
    EXPECT_EQ(second->span()[0], 1);
    TypeParam::start([](const shared_array<int>& seen) { seen.span()[0] = 2; }, *first).get();
    first.reset();
    EXPECT_TRUE(std::filesystem::exists(file_of(name)));
    EXPECT_EQ(second->span()[0], 2);
  }
  EXPECT_FALSE(std::filesystem::exists(file_of(name)));
}

struct starts_at_seven {
  int n = 7;
};

TYPED_TEST(named, its_elements_are_made_once) {
  const std::string name = own_name("c");
  const shared_array<starts_at_seven> first(3, {.name = name});
  EXPECT_EQ(first.span()[2].n, 7);
  first.span()[2].n = 8;
  EXPECT_EQ(
      TypeParam::start(
          [](const std::string& asked) { return shared_array<starts_at_seven>(3, {.name = asked}).span()[2].n; }, name)
          .get(),
      8);
}

// Each round some make it, some join it, some remove it; a count in it must be right for those who see the same memory.
TYPED_TEST(named, many_come_and_go) {
  const std::string name = own_name("d");
  std::vector<decltype(TypeParam::start(std::declval<int (*)(std::string)>(), name))> units;
  units.reserve(8);
  for (int i = 0; i < 8; ++i) {
    units.push_back(TypeParam::start(
        +[](std::string asked) {
          int wrong = 0;
          for (int round = 0; round < 200; ++round) {
            const shared_array<std::atomic<long>> counters(600, {.name = asked});
            const auto all = counters.span();
            all[0].fetch_add(1);
            all[599].fetch_add(1);
            // Whoever is here has counted itself in both, or is between the two.
            if (all[0] < 1 || all[599] < 1 || all[0] > 8 * 200) ++wrong;
          }
          return wrong;
        },
        name));
  }
  for (auto& unit : units) EXPECT_EQ(unit.get(), 0);
  EXPECT_FALSE(std::filesystem::exists(file_of(name)));
}

class named_memory : public tandem::test::checked {};

TEST_F(named_memory, those_who_were_handed_it_have_it_without_the_name) {
  const std::string name = own_name("e");
  tandem::stop_source stop;
  std::optional<shared_array<int>> a(std::in_place, 4U, tandem::memory_options{.name = name});
  tandem::process p(
      [](const shared_array<int>& seen, const tandem::stop_source& s) {
        while (!s.stop_requested()) ::sched_yield();
        // And hands it on.
        return tandem::process([](const shared_array<int>& below) { return below.span()[1]; }, seen).get();
      },
      *a, stop);
  a->span()[1] = 9;
  a.reset();
  EXPECT_FALSE(std::filesystem::exists(file_of(name)));
  {
    const shared_array<int> another(4, {.name = name});
    EXPECT_EQ(another.span()[1], 0);
  }
  stop.request_stop();
  EXPECT_EQ(p.get(), 9);
}

TEST_F(named_memory, what_is_left_of_the_killed_is_made_anew) {
  const std::string name = own_name("f");
  tandem::process p(
      [](const std::string& asked) {
        const shared_array<int> a(100, {.name = asked});
        a.span()[5] = 5;
        ::raise(SIGKILL);
      },
      name);
  p.join();
  EXPECT_EQ(p.status()->signal(), SIGKILL);
  EXPECT_TRUE(std::filesystem::exists(file_of(name)));
  const shared_array<double> anew(7, {.name = name});  // of another size and kind
  EXPECT_EQ(anew.span()[5], 0);
}

TEST_F(named_memory, a_copy_of_the_program_takes_nothing_away) {
  const std::string name = own_name("g");
  std::optional<shared_array<int>> a(std::in_place, 4U, tandem::memory_options{.name = name});
  tandem::process(tandem::fork_options{.allow_threads = true}, [&a] { a.reset(); }).get();
  EXPECT_TRUE(std::filesystem::exists(file_of(name)));
  a.reset();
  EXPECT_FALSE(std::filesystem::exists(file_of(name)));
}

TEST_F(named_memory, of_another_size_or_kind_is_refused) {
  const std::string name = own_name("h");
  const shared_array<int> a(10, {.name = name});
  EXPECT_THROW(shared_array<int>(11, {.name = name}), std::invalid_argument);
  EXPECT_THROW(shared_array<int>(9, {.name = name}), std::invalid_argument);
  EXPECT_THROW(shared_array<long>(5, {.name = name}), std::invalid_argument);
  EXPECT_THROW(shared_memory(40, {.name = name}), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(a.read_only()), std::logic_error);
}

TEST_F(named_memory, bad_names_are_refused) {
  for (const std::string& name : {std::string("a/b"), std::string("/"), std::string(201, 'x'), std::string("a\0b", 3)})
    EXPECT_THROW(shared_memory(40, {.name = name}), std::invalid_argument) << name;
}

TEST_F(named_memory, a_failed_one_leaves_no_name) {
  const std::string name = own_name("i");
  EXPECT_THROW(shared_memory(std::size_t{1} << 60, {.name = name}), tandem::resource_exhausted);
  EXPECT_FALSE(std::filesystem::exists(file_of(name)));
}

TEST_F(named_memory, what_is_no_file_of_ours_is_refused) {
  const std::string name = own_name("j");
  ASSERT_EQ(::symlink("/dev/null", file_of(name).c_str()), 0);
  EXPECT_THROW(shared_memory(40, {.name = name}), tandem::resource_exhausted);
  std::filesystem::remove(file_of(name));
  ASSERT_EQ(::mkfifo(file_of(name).c_str(), 0600), 0);
  EXPECT_THROW(shared_memory(40, {.name = name}), tandem::resource_exhausted);
  std::filesystem::remove(file_of(name));
  if (::geteuid() != 0) return;
  const int fd = ::open(file_of(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::fchown(fd, 65534, 65534), 0);
  ::close(fd);
  EXPECT_THROW(shared_memory(40, {.name = name}), tandem::resource_exhausted);
  std::filesystem::remove(file_of(name));
}

TEST_F(named_memory, a_file_of_the_user_is_left_alone) {
  const std::string name = own_name("l");
  const std::string text(200, 'x');
  std::ofstream(file_of(name)) << text;
  EXPECT_THROW(shared_memory(40, {.name = name}), std::invalid_argument);
  std::string left;
  std::ifstream(file_of(name)) >> left;
  EXPECT_EQ(left, text);
  std::filesystem::remove(file_of(name));
}

TEST_F(named_memory, does_not_come_from_a_worker) {
  const std::string name = own_name("k");
  const shared_array<int> a(10, {.name = name});
  EXPECT_THROW(tandem::process([](shared_array<int> seen) { return seen; }, a).get(), tandem::decode_error);
}

}  // namespace
