#include <gtest/gtest.h>

#include <thread>

#include <tandem/process.hpp>

namespace {

int square(int number) { return number * number; }

TEST(squares, a_process_starts_beside_other_threads) {
  std::stop_source stop;
  std::jthread other([token = stop.get_token()] {
    while (!token.stop_requested()) std::this_thread::yield();
  });
  tandem::process p(square, 7);
  EXPECT_EQ(p.get(), 49);
  stop.request_stop();
}

}  // namespace
