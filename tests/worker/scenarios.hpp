#pragma once
// What the scenarios say, and how.
#include <unistd.h>

#include <functional>
#include <string>

#include <tandem/tandem.hpp>

inline void say(const std::string& line) {
  const std::string text = line + "\n";
  static_cast<void>(!::write(STDOUT_FILENO, text.data(), text.size()));
}

inline int square(int n) { return n * n; }

[[noreturn]] inline void wait_for_ever() {
  for (;;) ::pause();
}

template <class E>
void expect_error(const std::function<void()>& action) {
  try {
    action();
    say("nothing was thrown");
  } catch (const E& e) {
    say(std::string("refused: ") + e.what());
  }
}

inline void run_one() { say("value " + std::to_string(tandem::process(square, 7).get())); }

// limit_scenarios.cpp
void descriptors_on_their_way();
void small_files();
