// Asking for a stop, and what is done about those who do not listen.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

#include <fmt/format.h>

#include <tandem/fmt.hpp>
#include <tandem/tandem.hpp>

using namespace std::chrono_literals;

// snippet: listener
// A function whose first parameter is a stop token is given one, in a process too.
bool wait_to_be_stopped(std::stop_token token) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, token, [] { return false; });  // wakes when a stop is requested
  return token.stop_requested();
}
// snippet end

void hear_nothing() {
  for (;;) std::this_thread::sleep_for(1h);
}

template <template <class> class Unit>
void stop_after_a_deadline(const char* kind) {
  // snippet: deadline
  Unit<bool> unit(wait_to_be_stopped);
  if (!unit.join_for(50ms)) unit.request_stop();
  fmt::print("{}: {}\n", kind, unit.get() ? "stopped when asked" : "ended by itself");
  // snippet end
}

int main() {
  tandem::init();
  stop_after_a_deadline<tandem::thread>("thread");
  stop_after_a_deadline<tandem::process>("process");

  // snippet: deaf
  // A process that hears nothing can be ended all the same; a thread cannot, and has no such member.
  tandem::process deaf(hear_nothing);
  deaf.request_stop();
  if (!deaf.join_for(50ms)) deaf.kill();
  deaf.join();
  fmt::print("deaf process: {}\n", deaf.status().value());
  // snippet end
}
