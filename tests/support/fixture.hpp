#pragma once
// The one fixture of all tests that start something: a watchdog while the test runs, and after it nothing is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <type_traits>
#include <utility>

#include <tandem/tandem.hpp>

#include "support/leaks.hpp"
#include "support/watchdog.hpp"

namespace tandem::test {

class checked : public testing::Test {
 protected:
  void SetUp() override { before_ = take_stock(); }
  void TearDown() override {
    for (const std::string& leak : leaks_since(before_)) ADD_FAILURE() << "left behind: " << leak;
  }

 private:
  watchdog watchdog_;
  stock before_;
};

/// The two units of execution as types, for typed tests.
struct in_thread {
  static constexpr bool is_process = false;
  using options = thread_options;
  template <class R>
  using unit = tandem::thread<R>;
  template <class... A>
  static auto start(A&&... arguments) {
    return tandem::thread(std::forward<A>(arguments)...);
  }
};

struct in_process {
  static constexpr bool is_process = true;
  using options = process_options;
  template <class R>
  using unit = tandem::process<R>;
  template <class... A>
  static auto start(A&&... arguments) {
    return tandem::process(std::forward<A>(arguments)...);
  }
};

using both = testing::Types<in_thread, in_process>;

struct unit_names {
  template <class T>
  static std::string GetName(int) {
    return T::is_process ? "process" : "thread";
  }
};

}  // namespace tandem::test
