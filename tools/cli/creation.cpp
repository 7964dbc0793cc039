#include "creation.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <tandem/init.hpp>

#include "contestants.hpp"
#include "control_group.hpp"
#include "json.hpp"
#include "kernel/plain_copy.hpp"
#include "kernel/touched_memory.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "text_files.hpp"

namespace cli {

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

struct host {
  std::size_t held_mib;
  std::vector<std::vector<double>> rounds;  // of each contestant
};

std::string amount(std::size_t held_mib) {
  return held_mib == 0 ? "nothing" : in_binary_units(static_cast<std::uint64_t>(held_mib) * mib);
}

// Some is left for everything else.
bool suffices(std::size_t held_mib) {
  constexpr std::size_t spare_mib = 256;
  const std::uint64_t needed = static_cast<std::uint64_t>(held_mib + spare_mib) * mib;
  const auto free = field_in("/proc/meminfo", "MemAvailable");
  if (free && *free * 1024 < needed) return false;
  const auto limit = memory_limit(own_control_groups());
  return (!limit || *limit >= needed) && kernel::can_map(static_cast<std::size_t>(needed));
}

// ---- measuring ------------------------------------------------------------------------------------------------------

// Who has just touched much memory has kept its CPU busy, so the system puts what it starts on another one, which costs
// more for a while: that would be taken for a price of the memory.
void rest() { std::this_thread::sleep_for(std::chrono::milliseconds(200)); }

// A task without runs says how much to hold from now on.
kernel::plain_copy::result in_plain_copy(const kernel::plain_copy::task& task) {
  static std::unique_ptr<kernel::touched_memory> memory;
  try {
    if (task.runs > 0) return {median_of_runs(contestants()[task.contestant], task.runs), 0};
    memory.reset();
    memory = std::make_unique<kernel::touched_memory>(task.held_bytes);
    return {};
  } catch (const std::system_error& e) {
    return {0, e.code().value()};
  } catch (const std::exception&) {
    return {0, ENOMEM};
  }
}

// One turn of each. The memory is held by one process at a time: first by the copy, then by this one, which has made the
// fork server long before.
void measure_round(host& h, const kernel::plain_copy& copy, int runs) {
  const std::span<const contestant> all = contestants();
  const std::size_t bytes = h.held_mib * mib;
  copy.run({.held_bytes = bytes});
  rest();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].runs == where::plain_copy) h.rounds[i].push_back(copy.run({.contestant = i, .runs = runs}));
  }
  copy.run({.held_bytes = 0});
  const kernel::touched_memory held(bytes);
  rest();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].runs == where::here) h.rounds[i].push_back(median_of_runs(all[i], runs));
  }
}

void measure(std::vector<host>& hosts, const kernel::plain_copy& copy, const creation_options& options) {
  progress shown;
  for (host& h : hosts) h.rounds.resize(contestants().size());
  for (int round = 1; round <= options.rounds; ++round) {
    for (host& h : hosts) {
      shown.say(fmt::format("round {} of {}, host that holds {}", round, options.rounds, amount(h.held_mib)));
      measure_round(h, copy, options.runs);
    }
  }
}

// ---- the report -----------------------------------------------------------------------------------------------------

// Median of one ratio for each round, so that what disturbed a whole round is divided out.
double ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> each;
  for (std::size_t i = 0; i < a.size(); ++i) each.push_back(a[i] / b[i]);
  return median(each);
}

struct row {
  const contestant* what;
  double mid, least, most;
  std::optional<double> growth;  // by itself in the smallest host
  std::optional<double> to_raw;
};

row row_of(const std::vector<host>& hosts, const host& h, std::size_t index) {
  const std::span<const contestant> all = contestants();
  const std::vector<double>& own = h.rounds[index];
  const auto [least, most] = std::minmax_element(own.begin(), own.end());
  row r{&all[index], median(own), *least, *most, {}, {}};
  if (&h != &hosts.front()) r.growth = ratio(own, hosts.front().rounds[index]);
  for (std::size_t i = 0; r.what->raw != nullptr && i < all.size(); ++i) {
    if (std::string_view(all[i].name) == r.what->raw) r.to_raw = ratio(own, h.rounds[i]);
  }
  return r;
}

// Small ones say something, too.
std::string as_factor(double value) { return fmt::format("{:.{}f} x", value, value < 0.1 ? 4 : 2); }

std::string as_text(const std::vector<host>& hosts, const host& h) {
  const bool first = &h == &hosts.front();
  std::string text = fmt::format("\n{:<31}{:>10}{:>10}{:>10}{:>11}   {}\n", "host that holds " + amount(h.held_mib),
                                 "median", "least", "most", first ? "" : "growth", "compared");
  for (std::size_t i = 0; i < h.rounds.size(); ++i) {
    const row r = row_of(hosts, h, i);
    text += fmt::format("  {:<29}{:>10.1f}{:>10.1f}{:>10.1f}", r.what->name, r.mid, r.least, r.most);
    const std::string growth = r.growth ? as_factor(*r.growth) : "";
    if (r.growth || r.to_raw) text += fmt::format("{:>11}", growth);
    if (r.to_raw) text += fmt::format("   {} {}", as_factor(*r.to_raw), r.what->raw);
    text += '\n';
  }
  return text;
}

std::string as_json(const std::vector<host>& hosts, const host& h, std::size_t index) {
  const row r = row_of(hosts, h, index);
  const auto number = [](const std::optional<double>& n) { return n ? json::number(*n) : "null"; };
  return json::object({{"name", json::text(r.what->name)},
                       {"host_mib", std::to_string(h.held_mib)},
                       {"median_us", json::number(r.mid)},
                       {"least_us", json::number(r.least)},
                       {"most_us", json::number(r.most)},
                       {"growth", number(r.growth)},
                       {"raw", r.what->raw != nullptr ? json::text(r.what->raw) : "null"},
                       {"ratio", number(r.to_raw)}});
}

constexpr const char* explanation = R"(
A run is one start and the wait for its end, of what does nothing. Raw ones (std::thread, fork, and
posix_spawn of /bin/true) run in a copy of this program without tandem that holds the same memory.
fork copies the tables of that memory; the fork server was made before it was touched, and does not.
Growth is the cost in that host by the cost in one that holds nothing.
)";

void report(const std::vector<host>& hosts, const std::vector<std::size_t>& left_out, const creation_options& options) {
  if (options.json) {
    std::vector<std::string> rows;
    for (const host& h : hosts) {
      for (std::size_t i = 0; i < h.rounds.size(); ++i) rows.push_back(as_json(hosts, h, i));
    }
    std::vector<std::string> missing;
    for (const std::size_t held_mib : left_out) missing.push_back(std::to_string(held_mib));
    print(json::object({{"cpus", std::to_string(tandem::available_cpus())},
                        {"rounds", std::to_string(options.rounds)},
                        {"runs", std::to_string(options.runs)},
                        {"left_out_mib", json::array(missing)},
                        {"rows", json::lines(rows)}}) +
          "\n");
    return;
  }
  std::string text = fmt::format("Start and join, in microseconds: median of {} rounds of up to {} runs; {} CPUs.\n",
                                 options.rounds, options.runs, tandem::available_cpus());
  for (const host& h : hosts) text += as_text(hosts, h);
  for (const std::size_t held_mib : left_out) {
    text += fmt::format("\nhost that holds {}: left out, there is not enough memory\n", amount(held_mib));
  }
  print(text + explanation);
}

}  // namespace

void compare_creation(const creation_options& options) {
  const kernel::plain_copy copy(in_plain_copy);
  tandem::init();  // before any of the memory is there
  std::vector<host> hosts{{0, {}}};
  std::vector<std::size_t> left_out;
  if (options.large && !suffices(4096)) throw std::runtime_error("there is not enough memory for a host of 4 GiB");
  if (suffices(1024)) {
    hosts.push_back({1024, {}});
  } else {
    left_out.push_back(1024);
  }
  if (options.large) hosts.push_back({4096, {}});
  measure(hosts, copy, options);
  report(hosts, left_out, options);
}

}  // namespace cli
