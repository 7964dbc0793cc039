// Listeners that are short of descriptors, that are forked, or that many worthless clients come to.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
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

}  // namespace
