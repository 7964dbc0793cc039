#include "contestants.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include <tandem/process.hpp>
#include <tandem/thread.hpp>

#include "fresh_image.hpp"
#include "kernel/raw.hpp"

namespace cli {

namespace {

void nothing() {}

void std_thread() { std::thread(nothing).join(); }

void tandem_thread() {
  tandem::thread unit(nothing);
  unit.join();
}

void tandem_process() {
  tandem::process unit(nothing);
  unit.join();
}

void spawned_process() {
  tandem::process unit(as_fresh_image(), nothing);
  unit.join();
}

void copied_process() {
  tandem::process unit(tandem::fork_options{}, nothing);
  unit.join();
}

void spawn_true() { kernel::spawn_and_wait("/bin/true"); }

constexpr contestant all[] = {
    {"std::thread", nullptr, where::plain_copy, std_thread},
    {"tandem::thread", "std::thread", where::here, tandem_thread},
    {"fork", nullptr, where::plain_copy, kernel::fork_and_wait},
    {"posix_spawn", "fork", where::plain_copy, spawn_true},
    {"tandem::process, fork_server", "fork", where::here, tandem_process},
    {"tandem::process, fork_options", "fork", where::here, copied_process},
    {"tandem::process, spawn", "posix_spawn", where::here, spawned_process},
};

}  // namespace

std::span<const contestant> contestants() noexcept { return all; }

double median(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return sorted.empty() ? 0 : *middle;
}

double median_of_runs(const contestant& what, int runs) {
  using clock = std::chrono::steady_clock;
  constexpr std::size_t fewest = 3;
  constexpr std::chrono::milliseconds long_enough(300);
  what.once();
  std::vector<double> micros;
  const auto began = clock::now();
  for (int i = 0; i < runs; ++i) {
    const auto start = clock::now();
    what.once();
    const auto end = clock::now();
    micros.push_back(std::chrono::duration<double, std::micro>(end - start).count());
    if (micros.size() >= fewest && end - began > long_enough) break;
  }
  return median(micros);
}

}  // namespace cli
