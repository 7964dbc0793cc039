#pragma once
// What the benchmarks share: rounds in which every contestant has its turn, and what the machine was like meanwhile.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

namespace bench {

using steady = std::chrono::steady_clock;

inline double micros_since(steady::time_point start) {
  return std::chrono::duration<double, std::micro>(steady::now() - start).count();
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The median of single runs of `operation`, in µs. One more goes before them, untimed.
template <class F>
double median_of_runs(int runs, F operation) {
  operation();
  std::vector<double> each;
  for (int i = 0; i < runs; ++i) {
    const auto start = steady::now();
    operation();
    each.push_back(micros_since(start));
  }
  return median(std::move(each));
}

// ---- contestants
// -----------------------------------------------------------------------------------------------------

struct contestant {
  std::string name;
  std::function<double()> block;  // one turn: µs
  std::vector<double> rounds = {};

  double mid() const { return median(rounds); }
  double least() const { return *std::min_element(rounds.begin(), rounds.end()); }
  double most() const { return *std::max_element(rounds.begin(), rounds.end()); }
};

/// A/B/C/A/B/C...: drift hits all of them alike.
inline void interleave(std::vector<contestant>& all, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    for (contestant& each : all) each.rounds.push_back(each.block());
  }
}

inline const contestant& named(const std::vector<contestant>& all, std::string_view name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const contestant& c) { return c.name == name; });
  if (found == all.end()) throw std::logic_error("no contestant " + std::string(name));
  return *found;
}

/// One ratio for each round, so that what disturbed a whole round is divided out.
inline std::vector<double> ratios(const contestant& a, const contestant& b) {
  std::vector<double> each;
  for (std::size_t i = 0; i < std::min(a.rounds.size(), b.rounds.size()); ++i)
    each.push_back(a.rounds[i] / b.rounds[i]);
  return each;
}

// ---- the machine
// -----------------------------------------------------------------------------------------------------

inline std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cpus;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) cpus.push_back(i);
  }
  return cpus;
}

/// 0: the caller.
inline void pin(const std::vector<int>& cpus, pid_t task = 0) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  ::sched_setaffinity(task, sizeof set, &set);
}

/// A cache line there and back between the first two CPUs, in ns; 0 where there is only one. Under 40 they are two
/// threads of one core; under 130 they share a cache (near); above, they do not (far). Hosts move virtual CPUs about.
inline double line_round_trip_ns() {
  const std::vector<int> cpus = allowed_cpus();
  if (cpus.size() < 2) return 0;
  struct alignas(64) {
    std::atomic<unsigned> turn = 0;
  } line;
  constexpr unsigned trips = 5000;
  constexpr unsigned block = 100;
  std::thread echo([&] {
    pin({cpus[1]});
    for (unsigned i = 0; i < trips; ++i) {
      while (line.turn.load(std::memory_order_acquire) != 2 * i + 1) {
      }
      line.turn.store(2 * i + 2, std::memory_order_release);
    }
  });
  pin({cpus[0]});
  std::vector<double> blocks;
  auto start = steady::now();
  for (unsigned i = 0; i < trips; ++i) {
    line.turn.store(2 * i + 1, std::memory_order_release);
    while (line.turn.load(std::memory_order_acquire) != 2 * i + 2) {
    }
    if (i % block == block - 1) {
      blocks.push_back(micros_since(start) * 1000 / block);
      start = steady::now();
    }
  }
  echo.join();
  pin(cpus);
  return median(std::move(blocks));
}

inline const char* distance(double round_trip_ns) {
  if (round_trip_ns <= 0) return "one CPU";
  if (round_trip_ns < 40) return "one core";
  return round_trip_ns < 130 ? "near" : "far";
}

/// Seconds of CPU time that the whole machine has spent.
inline double machine_busy_seconds() {
  std::ifstream stat("/proc/stat");
  std::string label;
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  stat >> label >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  return (user + nice + system + irq + softirq + steal) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

inline double available_gib() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  double kib = 0;
  std::string rest;
  while (meminfo >> key >> kib && std::getline(meminfo, rest)) {
    if (key == "MemAvailable:") return kib / (1 << 20);
  }
  return 0;
}

// ---- arguments and JSON
// ----------------------------------------------------------------------------------------------

/// `--name value` and `--name`, taken out of the arguments one by one; what is left is a mistake.
class arguments {
 public:
  arguments(int argc, char** argv) : left_(argv + 1, argv + argc) {}
  std::string text(std::string_view name, std::string otherwise) {
    const auto found = std::find(left_.begin(), left_.end(), name);
    if (found == left_.end()) return otherwise;
    if (found + 1 == left_.end()) throw std::invalid_argument(std::string(name) + " needs a value");
    std::string value = *(found + 1);
    left_.erase(found, found + 2);
    return value;
  }
  int number(std::string_view name, int otherwise) {
    const std::string value = text(name, "");
    return value.empty() ? otherwise : std::stoi(value);
  }
  void finish() const {
    if (!left_.empty()) throw std::invalid_argument("unknown: " + left_.front());
  }

 private:
  std::vector<std::string> left_;
};

/// Names here are our own: nothing in them needs an escape.
inline std::string json_of(const contestant& c, std::string_view pinning, double host_gib) {
  return fmt::format(
      R"({{"name": "{}", "pinning": "{}", "host_gib": {}, "rounds": {}, "median_us": {:.2f}, "least_us": {:.2f}, "most_us": {:.2f}}})",
      c.name, pinning, host_gib, c.rounds.size(), c.mid(), c.least(), c.most());
}

/// What main() of each of them is: an exception is said, and is a failure. What `run` returns, if anything, is what the
/// program does.
template <class Run>
int main_of(const char* program, Run run, int argc, char** argv) {
  try {
    if constexpr (std::is_void_v<decltype(run(argc, argv))>) {
      run(argc, argv);
      return 0;
    } else {
      return run(argc, argv);
    }
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: {}\n", program, e.what());
    return 1;
  }
}

inline void write_file(const std::string& path, std::string_view text) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << text;
  file.flush();
  if (!file) throw std::runtime_error("cannot write " + path);
}

}  // namespace bench
