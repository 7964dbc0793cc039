// The n-th call into the kernel fails, for n = 1, 2, 3 ... until the operation needs no further one: each time a clear
// error or success, and nothing is left.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "os/faults.hpp"
#include "support/fixture.hpp"

namespace {

using tandem::shared_array;
using tandem::shared_memory;
using tandem::os::role;
namespace faults = tandem::os::faults;

class memory_faults : public tandem::test::checked {};

// As in worker/faults_test.cpp, and says how many calls there were.
template <class Operation>
int each_call_fails(role who, int error, Operation operation) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE("call " + std::to_string(nth) + ", " + std::strerror(error));
    const auto before = tandem::test::take_stock();
    faults::arm(who, nth, error);
    try {
      operation();
    } catch (const tandem::resource_exhausted& e) {
      EXPECT_EQ(e.code().value(), error) << e.what();
    } catch (const tandem::error& e) {
      EXPECT_GT(std::strlen(e.what()), 20U);
    }
    const bool reached = faults::disarm();
    for (const std::string& leak : tandem::test::leaks_since(before)) ADD_FAILURE() << "left behind: " << leak;
    if (!reached) return nth - 1;
    if (nth == 1000) {
      ADD_FAILURE() << "no end";
      return nth;
    }
  }
}

TEST_F(memory_faults, making_it) {
  for (const int error : {ENOMEM, ENOSPC, EMFILE, EPERM}) {
    EXPECT_GE(each_call_fails(role::host, error, [] { const shared_array<int> a(2'000'000); }), 6);
    EXPECT_GE(each_call_fails(role::host, error,
                              [] {
                                const shared_memory m(100'000, {.huge_pages = true});
                                EXPECT_EQ(m.bytes()[99'999], std::byte{0});
                              }),
              5);
  }
}

TEST_F(memory_faults, with_a_name) {
  const std::string name = "faults-" + std::to_string(::getpid());
  for (const int error : {ENOMEM, ENOSPC, EMFILE}) {
    EXPECT_GE(each_call_fails(role::host, error, [&] { const shared_memory m(100'000, {.name = name}); }), 4);
    const shared_memory other(100, {.name = name});
    EXPECT_GE(each_call_fails(role::host, error, [&] { const shared_memory m(100, {.name = name}); }), 4);
    EXPECT_GE(each_call_fails(role::host, error, [&] { tandem::process([](const shared_memory&) {}, other).get(); }),
              4);
  }
}

TEST_F(memory_faults, handing_it_over) {
  const auto give_and_take = [] {
    const shared_array<int> a(10);
    tandem::process p(
        [](const shared_array<int>& seen) {
          const shared_array<int> made(100);
          made.span()[1] = seen.span()[0] + 1;
          return made;
        },
        a);
    EXPECT_EQ(p.get().span()[1], 1);
  };
  const auto only_to_read = [] {
    shared_array<int> a(10);
    a.span()[2] = 2;
    tandem::process p([](const shared_array<const int>& seen) { return seen.span()[2]; }, a.read_only());
    EXPECT_EQ(p.get(), 2);
  };
  for (const role who : {role::host, role::server, role::worker}) {
    for (const int error : {ENOMEM, EMFILE}) {
      each_call_fails(who, error, give_and_take);
      each_call_fails(who, error, only_to_read);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  faults::share();
  tandem::init();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
