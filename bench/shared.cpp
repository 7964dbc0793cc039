// Handing shared memory to processes: what it costs at which size, and how much memory it then takes.
//
//   bench_shared [--rounds 9] [--runs 50] [--large MIB] [--json FILE]
//
// --large: the size of the large array, 1024 unless told.
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/shared.hpp>

#include "measure.hpp"

namespace {

using bench::contestant;
using array = tandem::shared_array<double>;

double first(const array& a) { return a.span().front(); }
double first_of_vector(const std::vector<double>& v) { return v.front(); }
double first_of_nothing(double d) { return d; }

/// In MiB, from a table of /proc, whose lines are like "Pss:  12 kB".
double mib_in(const std::string& file, const std::string& wanted) {
  std::ifstream table(file);
  std::string key;
  std::string rest;
  while (table >> key) {
    double kib = 0;
    if (key == wanted && table >> kib) return kib / 1024;
    std::getline(table, rest);
  }
  return 0;
}

// Reads all of it, says so, and stays until it is asked to stop.
double read_and_stay(std::stop_token stop, const array& a, const tandem::shared<std::atomic<int>>& ready) {
  const auto all = a.span();
  const double sum = std::accumulate(all.begin(), all.end(), 0.0);
  ++*ready;
  std::mutex lock;
  std::condition_variable_any stopped;
  std::unique_lock held(lock);
  stopped.wait(held, stop, [] { return false; });
  return sum;
}

void show_memory(std::size_t mib, std::vector<std::string>& rows) {
  constexpr int workers = 4;
  const double before = mib_in("/proc/meminfo", "Shmem:");
  const array a(mib << 17);
  std::fill(a.span().begin(), a.span().end(), 1.0);
  const tandem::shared<std::atomic<int>> ready;
  std::vector<tandem::process<double>> all;
  for (int i = 0; i < workers; ++i) all.emplace_back(read_and_stay, a, ready);
  while (*ready < workers) std::this_thread::yield();
  fmt::print("\n{} MiB, written by the host and read by {} processes; shared memory of the machine: +{:.0f} MiB\n", mib,
             workers, mib_in("/proc/meminfo", "Shmem:") - before);
  const auto line = [&](const std::string& who, pid_t pid) {
    const std::string rollup = "/proc/" + std::to_string(pid) + "/smaps_rollup";
    const double rss = mib_in(rollup, "Rss:");
    const double pss = mib_in(rollup, "Pss:");
    const double own = mib_in(rollup, "Private_Dirty:") + mib_in(rollup, "Private_Clean:");
    fmt::print("  {:<10} resident {:>8.1f} MiB, its share {:>8.1f} MiB, its own {:>6.1f} MiB\n", who, rss, pss, own);
    rows.push_back(
        fmt::format(R"({{"array_mib": {}, "who": "{}", "rss_mib": {:.1f}, "pss_mib": {:.1f}, "private_mib": {:.1f}}})",
                    mib, who, rss, pss, own));
  };
  line("host", ::getpid());
  for (std::size_t i = 0; i < all.size(); ++i) line("process " + std::to_string(i + 1), all[i].id());
  for (auto& each : all) each.request_stop();
  for (auto& each : all) {
    if (each.get() != static_cast<double>(mib << 17)) throw std::logic_error("a wrong sum");
  }
}

void time_pages(int rounds, std::vector<std::string>& rows) {
  const auto timed = [](auto f) {
    const auto start = bench::steady::now();
    f();
    return bench::micros_since(start) / 1000;
  };
  fmt::print("\n64 MiB: ms to make, to write the first time, to write again, to zero it; median of {}\n", rounds);
  for (const bool huge : {false, true}) {
    std::vector<double> make, touch, again, zero;
    for (int i = 0; i < rounds; ++i) {
      std::optional<array> a;
      make.push_back(timed([&] { a.emplace(std::size_t{64} << 17, tandem::memory_options{.huge_pages = huge}); }));
      touch.push_back(timed([&] { std::fill(a->span().begin(), a->span().end(), 1.0); }));
      again.push_back(timed([&] { std::fill(a->span().begin(), a->span().end(), 2.0); }));
      zero.push_back(timed([&] { std::memset(a->span().data(), 0, a->span().size_bytes()); }));
    }
    const double m = bench::median(make), t = bench::median(touch), g = bench::median(again), z = bench::median(zero);
    fmt::print("  {:<26}{:>8.1f}{:>8.1f}{:>8.1f}{:>8.1f}\n", huge ? ".huge_pages = true" : "ordinary", m, t, g, z);
    rows.push_back(fmt::format(
        R"({{"huge_pages": {}, "make_ms": {:.2f}, "first_ms": {:.2f}, "again_ms": {:.2f}, "zero_ms": {:.2f}}})", huge,
        m, t, g, z));
  }
}

void run(int argc, char** argv) {
  bench::arguments args(argc, argv);
  const int rounds = args.number("--rounds", 9);
  const int runs = args.number("--runs", 50);
  const auto large_mib = static_cast<std::size_t>(args.number("--large", 1024));
  const std::string json = args.text("--json", "");
  args.finish();

  tandem::init();
  const double busy = bench::machine_busy_seconds();
  std::vector<std::string> rows;
  {
    const array small(1 << 17);
    const array large(large_mib << 17);
    const std::vector<double> copied(1 << 17);
    const auto block = [&](auto run_once) { return [=] { return bench::median_of_runs(runs, run_once); }; };
    std::vector<contestant> all;
    all.push_back({"a number", block([] { tandem::process(first_of_nothing, 1.0).get(); })});
    all.push_back({"shared_array, 1 MiB", block([&] { tandem::process(first, small).get(); })});
    all.push_back(
        {fmt::format("shared_array, {} MiB", large_mib), block([&] { tandem::process(first, large).get(); })});
    all.push_back({"vector, 1 MiB", block([&] { tandem::process(first_of_vector, copied).get(); })});
    bench::interleave(all, rounds);
    fmt::print("start a process with it, read its first element there, get that: µs, median of {} (least .. most)\n",
               rounds);
    for (const contestant& c : all) {
      fmt::print("  {:<26}{:>8.0f} ({:.0f} .. {:.0f})\n", c.name, c.mid(), c.least(), c.most());
      rows.push_back(bench::json_of(c, "unpinned", 0));
    }
    const double ratio = bench::median(bench::ratios(all[2], all[1]));
    fmt::print("  {} / {}: {:.2f}\n", all[2].name, all[1].name, ratio);
  }

  time_pages(rounds, rows);
  show_memory(1, rows);
  show_memory(large_mib, rows);
  fmt::print("\nthe machine was busy for {:.0f} s of CPU time meanwhile\n", bench::machine_busy_seconds() - busy);
  if (!json.empty()) {
    std::ofstream file(json);
    file << "[\n" << fmt::format("{}", fmt::join(rows, ",\n")) << "\n]\n";
  }
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_shared", run, argc, argv); }
