#pragma once
// A test that hangs says where, and dies.
namespace tandem::test {

/// While it lives: after that many seconds every thread of this process writes its stack to standard error, and what
/// its descendants wait for is listed; then the process aborts.
class watchdog {
 public:
  static constexpr unsigned usual = 110;  // less than the usual time that ctest gives a case

  explicit watchdog(unsigned seconds = usual);
  ~watchdog();
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
};

}  // namespace tandem::test
