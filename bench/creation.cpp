// Start and join of one thread and of one process, beside what the system itself can do.
//
//   bench_creation [--rounds 9] [--runs 200] [--large GIB] [--json FILE]
//
// --large: then again with so much touched memory in this program; 4 is what docs/benchmarks.md speaks of.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>
#include <exception>
#include <optional>
#include <thread>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/thread.hpp>

#include "census.hpp"
#include "measure.hpp"

namespace {

using bench::contestant;

void nothing() {}

// ---- the system's own
// ------------------------------------------------------------------------------------------------

void await(pid_t child) {
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) throw std::runtime_error("a child was lost");
}

void raw_fork() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  await(child);
}

void raw_vfork() {
  const pid_t child = ::vfork();
  if (child == 0) ::_exit(0);
  await(child);
}

void raw_spawn() {
  char program[] = "/bin/true";
  char* arguments[] = {program, nullptr};
  pid_t child = -1;
  if (const int error = ::posix_spawn(&child, program, nullptr, nullptr, arguments, environ); error != 0) {
    throw std::system_error(error, std::generic_category(), "posix_spawn");
  }
  await(child);
}

// A copy of this program from before tandem::init(), small and with one thread: what it takes to fork there is what
// "fork" means below, also while this program is large. It runs one block whenever it is told the number of runs.
class small_process {
 public:
  small_process() {
    int ask[2];
    int answer[2];
    if (::pipe2(ask, O_CLOEXEC) != 0 || ::pipe2(answer, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) {
      ::close(ask[1]);
      serve(ask[0], answer[1]);
    }
    ::close(ask[0]);
    ::close(answer[1]);
    ask_ = ask[1];
    answer_ = answer[0];
  }
  small_process(const small_process&) = delete;
  small_process& operator=(const small_process&) = delete;
  ~small_process() {
    ::close(ask_);  // it ends with its input
    ::close(answer_);
    ::waitpid(pid_, nullptr, 0);
  }

  double fork_block(int runs) const {
    double micros = 0;
    if (::write(ask_, &runs, sizeof runs) != sizeof runs || ::read(answer_, &micros, sizeof micros) != sizeof micros) {
      throw std::runtime_error("the small process is gone");
    }
    return micros;
  }
  pid_t pid() const { return pid_; }

 private:
  [[noreturn]] static void serve(int ask, int answer) {
    for (int runs = 0; ::read(ask, &runs, sizeof runs) == sizeof runs;) {
      const double micros = bench::median_of_runs(runs, raw_fork);
      if (::write(answer, &micros, sizeof micros) != sizeof micros) break;
    }
    ::_exit(0);
  }

  pid_t pid_ = -1;
  int ask_ = -1;
  int answer_ = -1;
};

// ---- what competes
// ---------------------------------------------------------------------------------------------------

void tandem_process() {
  tandem::process p(nothing);
  p.join();
}

std::vector<contestant> contestants(const small_process& small, int runs) {
  const auto runs_of = [runs](auto operation) { return [=] { return bench::median_of_runs(runs, operation); }; };
  return {
      {"std::thread", runs_of([] { std::thread(nothing).join(); })},
      {"tandem::thread", runs_of([] {
         tandem::thread t(nothing);
         t.join();
       })},
      {"fork, small process", [&small, runs] { return small.fork_block(runs); }},
      {"tandem::process", runs_of(tandem_process)},
      {"fork, this program", runs_of(raw_fork)},
      {"vfork, this program", runs_of(raw_vfork)},
      {"posix_spawn /bin/true", runs_of(raw_spawn)},
  };
}

// fork of a program with 4 GiB takes as long as a thousand starts of a worker: fewer runs.
std::vector<contestant> large_contestants(const small_process& small, int runs) {
  const auto runs_of = [](int n, auto operation) { return [=] { return bench::median_of_runs(n, operation); }; };
  return {
      {"fork, small process", [&small, runs] { return small.fork_block(runs); }},
      {"tandem::process", runs_of(runs, tandem_process)},
      {"fork, this program", runs_of(2, raw_fork)},
      {"vfork, this program", runs_of(runs, raw_vfork)},
  };
}

// ---- the report
// ------------------------------------------------------------------------------------------------------

struct report {
  std::vector<std::string> rows = {};
  std::vector<std::string> ratios = {};

  void table(const std::vector<contestant>& all, const char* pinning, double host_gib) {
    const std::string host = host_gib == 0 ? "small host" : fmt::format("host of {} GiB", host_gib);
    fmt::print("\n{}, {}: µs, median of {} rounds (least .. most)\n", pinning, host, all.front().rounds.size());
    for (const contestant& c : all) {
      fmt::print("  {:<24}{:>10.1f}  ({:.1f} .. {:.1f})\n", c.name, c.mid(), c.least(), c.most());
      rows.push_back(bench::json_of(c, pinning, host_gib));
    }
    std::fflush(stdout);
  }

  void ratio(const std::string& what, const char* pinning, const std::vector<double>& each, double asked) {
    const double mid = bench::median(each);
    const auto [least, most] = std::minmax_element(each.begin(), each.end());
    fmt::print("  {:<52}{:>6.2f}  ({:.2f} .. {:.2f}), asked for: {:.2f}\n", what, mid, *least, *most, asked);
    ratios.push_back(fmt::format(
        R"({{"name": "{}", "pinning": "{}", "median": {:.3f}, "least": {:.3f}, "most": {:.3f}, "asked": {}}})", what,
        pinning, mid, *least, *most, asked));
  }
};

/// Every task of this program and of those below it.
void pin_all(const std::vector<int>& cpus) {
  std::vector<pid_t> all = bench::descendants_of(::getpid());
  all.push_back(::getpid());
  for (const pid_t pid : all) {
    std::error_code gone;
    for (std::filesystem::directory_iterator at("/proc/" + std::to_string(pid) + "/task", gone), end; at != end;) {
      bench::pin(cpus, std::stoi(at->path().filename().string()));
      at.increment(gone);
      if (gone) break;
    }
  }
}

struct pinning {
  const char* name;
  std::vector<int> cpus;
};

/// Memory that is really there, in pages of 4 KiB: larger ones would make fork cheaper than it is for most programs.
class touched_memory {
 public:
  explicit touched_memory(std::size_t bytes) : bytes_(bytes) {
    memory_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    ::madvise(memory_, bytes, MADV_NOHUGEPAGE);
    std::memset(memory_, 1, bytes);
  }
  touched_memory(const touched_memory&) = delete;
  touched_memory& operator=(const touched_memory&) = delete;
  ~touched_memory() { ::munmap(memory_, bytes_); }

 private:
  void* memory_ = nullptr;
  std::size_t bytes_;
};

struct settings {
  int rounds = 9;
  int runs = 200;
  int large_gib = 0;
};

void measure(const small_process& small, const settings& set, report& out) {
  const std::vector<int> cpus = bench::allowed_cpus();
  const std::vector<pinning> pinnings = {{"unpinned", cpus}, {"all on one CPU", {cpus.front()}}};
  std::vector<contestant> small_host[2];
  for (std::size_t i = 0; i < pinnings.size(); ++i) {
    const char* name = pinnings[i].name;
    pin_all(pinnings[i].cpus);
    auto& all = small_host[i] = contestants(small, set.runs);
    bench::interleave(all, set.rounds);
    out.table(all, name, 0);
    using bench::named;
    out.ratio("tandem::thread / std::thread", name,
              bench::ratios(named(all, "tandem::thread"), named(all, "std::thread")), 1.10);
    out.ratio("tandem::process / fork of a small process", name,
              bench::ratios(named(all, "tandem::process"), named(all, "fork, small process")), 1.50);
  }
  pin_all(cpus);
  if (set.large_gib == 0) return;
  if (bench::available_gib() < set.large_gib + 1) {
    fmt::print("\nnot enough memory for a host of {} GiB: left out\n", set.large_gib);
    return;
  }
  // One page more than asked for would do no harm; half of it would.
  std::optional<touched_memory> large;
  for (std::size_t i = 0; i < pinnings.size(); ++i) {
    const char* name = pinnings[i].name;
    pin_all(pinnings[i].cpus);
    // Small and large again in turns, so that the ratio is of the same minutes.
    contestant before{"tandem::process", {}};
    auto all = large_contestants(small, set.runs);
    for (int round = 0; round < set.rounds; ++round) {
      large.reset();
      before.rounds.push_back(bench::median_of_runs(set.runs, tandem_process));
      large.emplace(static_cast<std::size_t>(set.large_gib) << 30);
      bench::interleave(all, 1);
    }
    large.reset();
    out.table(all, name, set.large_gib);
    out.ratio(fmt::format("tandem::process, host of {} GiB / small host", set.large_gib), name,
              bench::ratios(bench::named(all, "tandem::process"), before), 1.30);
  }
  pin_all(cpus);
}

void run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  const settings set = {given.number("--rounds", 9), given.number("--runs", 200), given.number("--large", 0)};
  const std::string json = given.text("--json", "");
  given.finish();
  if (set.rounds < 1 || set.runs < 1) throw std::invalid_argument("--rounds and --runs are at least 1");

  const small_process small;  // before init(): neither tandem nor a thread is in it
  tandem::init();
  const double before_ns = bench::line_round_trip_ns();
  const double busy = bench::machine_busy_seconds();
  const auto start = bench::steady::now();
  fmt::print("CPUs: {}; a cache line there and back takes {:.0f} ns ({})\n", bench::allowed_cpus().size(), before_ns,
             bench::distance(before_ns));
  report out;
  measure(small, set, out);

  const double after_ns = bench::line_round_trip_ns();
  const double share = (bench::machine_busy_seconds() - busy) / (bench::micros_since(start) / 1e6);
  fmt::print("\nat the end: {:.0f} ns ({}); CPUs busy on average, all programs: {:.2f}\n", after_ns,
             bench::distance(after_ns), share);
  bench::write_file(json, fmt::format(R"({{"cpus": {}, "line_ns_before": {:.1f}, "line_ns_after": {:.1f},
 "cpus_busy": {:.2f},
 "rows": [
  {}
 ],
 "ratios": [
  {}
 ]}}
)",
                                      bench::allowed_cpus().size(), before_ns, after_ns, share,
                                      fmt::join(out.rows, ",\n  "), fmt::join(out.ratios, ",\n  ")));
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_creation", run, argc, argv); }
