// Many processes: one after another, and at once; and what is left of them.
//
//   bench_many [--total 10000] [--wave 50] [--concurrent 1000] [--json FILE]
//
// It fails if a descriptor, a thread or a child is left.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <exception>
#include <filesystem>

#include <tandem/init.hpp>
#include <tandem/process.hpp>

#include "census.hpp"
#include "measure.hpp"

namespace {

int next(int number) { return number + 1; }

// Opening a named pipe for reading waits until somebody opens it for writing: all workers start at one signal, and need
// nothing but its name for that.
int wait_at(const std::string& gate) {
  const int fd = ::open(gate.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "open");
  ::close(fd);
  return ::getpid();
}

/// The host, its keeper, and the fork server, in this order.
std::vector<bench::holdings> census() {
  std::vector<bench::holdings> all;
  for (pid_t pid = ::getpid(); all.size() < 3;) {
    all.push_back(bench::holdings_of(pid));
    const auto below = bench::children_of(pid);
    if (below.empty()) break;
    pid = below.front();
  }
  return all;
}

std::vector<std::string> rows;

void show(const char* when, const std::vector<bench::holdings>& all) {
  static constexpr const char* who[] = {"host", "keeper", "server"};
  fmt::print("{}\n", when);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& h = all[i];
    fmt::print("  {:<8}{:>6} descriptors {:>4} threads {:>6} children {:>8.1f} MiB resident\n", who[i], h.descriptors,
               h.threads, h.children, h.resident_mib);
    rows.push_back(fmt::format(
        R"({{"when": "{}", "who": "{}", "descriptors": {}, "threads": {}, "children": {}, "resident_mib": {:.1f}}})",
        when, who[i], h.descriptors, h.threads, h.children, h.resident_mib));
  }
  std::fflush(stdout);
}

double in_waves(int total, int wave) {
  const auto start = bench::steady::now();
  for (int done = 0; done < total;) {
    std::vector<tandem::process<int>> running;
    for (int i = 0; i < wave && done + i < total; ++i) running.emplace_back(next, done + i);
    for (auto& each : running) {
      if (each.get() != ++done) throw std::runtime_error("a wrong result");
    }
  }
  return total / (bench::micros_since(start) / 1e6);
}

struct at_once {
  double starts_per_second = 0;
  double joins_per_second = 0;
  std::vector<bench::holdings> peak = {};
};

bool same(const std::vector<bench::holdings>& a, const std::vector<bench::holdings>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const bench::holdings& x, const bench::holdings& y) {
    return x.descriptors == y.descriptors && x.threads == y.threads && x.children == y.children;
  });
}

/// The census once it is as it should be; a process is joined a moment before its server has reaped it. What is left
/// after seconds stays.
std::vector<bench::holdings> settled(const std::function<bool(const std::vector<bench::holdings>&)>& as_it_should_be) {
  const auto start = bench::steady::now();
  std::vector<bench::holdings> now = census();
  while (!as_it_should_be(now) && bench::micros_since(start) < 5e6) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    now = census();
  }
  return now;
}

at_once concurrently(int count) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("tandem-bench-{}", ::getpid());
  std::filesystem::create_directory(folder);
  const std::string gate = folder / "gate";
  if (::mkfifo(gate.c_str(), 0600) != 0) throw std::system_error(errno, std::generic_category(), "mkfifo");

  at_once done;
  auto start = bench::steady::now();
  std::vector<tandem::process<int>> running;
  for (int i = 0; i < count; ++i) running.emplace_back(wait_at, gate);
  done.starts_per_second = count / (bench::micros_since(start) / 1e6);
  done.peak = census();

  start = bench::steady::now();
  // One that has not reached the gate yet finds it open as long as this holds it.
  const int open_gate = ::open(gate.c_str(), O_RDWR | O_CLOEXEC);
  for (auto& each : running) {
    const int id = each.id();
    if (each.get() != id) throw std::runtime_error("a wrong result");
  }
  done.joins_per_second = count / (bench::micros_since(start) / 1e6);
  ::close(open_gate);
  std::filesystem::remove_all(folder);
  return done;
}

void raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  const int total = given.number("--total", 10'000);
  const int wave = given.number("--wave", 50);
  const int concurrent = given.number("--concurrent", 1000);
  const std::string json = given.text("--json", "");
  given.finish();
  if (wave < 1) throw std::invalid_argument("--wave is at least 1");

  raise_descriptor_limit();  // the host holds one pidfd for each that runs
  tandem::init();
  tandem::process(next, 0).join();  // what is made on first use is there
  const auto before = settled([](const auto& now) { return now.back().children == 0; });
  show("before", before);
  const double rate = in_waves(total, wave);
  const auto as_before = [&](const auto& now) { return same(before, now); };
  const auto between = settled(as_before);
  show("after the waves", between);
  const at_once many = concurrently(concurrent);
  show("while all run", many.peak);
  const auto after = settled(as_before);
  show("at the end", after);

  fmt::print("{} processes in waves of {}: {:.0f} a second\n", total, wave, rate);
  fmt::print("{} at once: started {:.0f} a second, joined {:.0f} a second\n", concurrent, many.starts_per_second,
             many.joins_per_second);
  bench::write_file(json, fmt::format(R"({{"total": {}, "wave": {}, "waves_per_second": {:.1f},
 "concurrent": {}, "starts_per_second": {:.1f}, "joins_per_second": {:.1f},
 "rows": [
  {}
 ]}}
)",
                                      total, wave, rate, concurrent, many.starts_per_second, many.joins_per_second,
                                      fmt::join(rows, ",\n  ")));
  if (!same(before, between) || !same(before, after)) throw std::runtime_error("something was left behind");
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_many", run, argc, argv); }
