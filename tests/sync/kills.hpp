#pragma once
// What the matrices of kills share: how many rounds they make, and that these came to what they are about.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace tandem::test {

[[noreturn]] inline void die() {
  for (;;) ::kill(::getpid(), SIGKILL);
}

/// As many rounds as TANDEM_TEST_ROUNDS asks for.
inline int rounds_or(int usual) {
  const char* const asked = std::getenv("TANDEM_TEST_ROUNDS");
  return asked != nullptr ? std::atoi(asked) : usual;
}

/// A point that needs a meeting of chance may be missed in a few rounds, but not in many.
inline void tell_reached(int reached, int all, const char* point) {
  std::printf("killed there in %d of %d rounds\n", reached, all);
  constexpr int many = 50;
  if (rounds_or(0) >= many) {
    EXPECT_GT(reached, 0) << "nobody ever comes to " << point;
  }
}

}  // namespace tandem::test
