#include "memory_table.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/this_worker.hpp>
#include <tandem/thread.hpp>

#include "json.hpp"
#include "kernel/gate.hpp"
#include "kernel/touched_memory.hpp"
#include "memory_use.hpp"
#include "output.hpp"

namespace cli {

namespace {

// Made before the fork server: its workers have both, at the same address.
std::unique_ptr<kernel::touched_memory> data;
std::unique_ptr<kernel::gate> gate;

std::size_t read_and_wait() {
  const std::size_t sum = data->read();
  gate->pass();
  return sum;
}

// Whatever goes wrong, those who wait are let go before they are joined.
class opening {
 public:
  opening() = default;
  opening(const opening&) = delete;
  opening& operator=(const opening&) = delete;
  ~opening() { gate->open(); }
};

template <class Unit>
void start_another(std::vector<Unit>& units) {
  units.emplace_back(read_and_wait);
  const auto over = [&] { return !units.back().running(); };
  if (gate->wait_for(static_cast<std::uint32_t>(units.size()), over)) return;
  units.back().get();  // throws what ended it
  throw std::runtime_error("a worker ended before it was looked at");
}

template <class Unit>
void finish(std::vector<Unit>& units) {
  for (Unit& unit : units) {
    if (unit.get() != data->read()) throw std::runtime_error("a worker read other data than there are");
  }
  gate->close();
}

struct table {
  std::vector<memory_use> processes = {};
  std::vector<memory_use> threads = {};
  std::vector<std::pair<const char*, memory_use>> rest = {};  // while the processes were there
};

void look_at_processes(int workers, table& found) {
  std::vector<tandem::process<std::size_t>> units;
  {
    const opening at_the_end;
    for (int i = 0; i < workers; ++i) start_another(units);
    for (const auto& unit : units) found.processes.push_back(memory_of(unit.id()));
    pid_t pid = tandem::this_worker::id();
    for (const char* name : {"this program", "its keeper", "its fork server"}) {
      found.rest.emplace_back(name, memory_of(pid));
      const std::vector<pid_t> below = children_of(pid);
      if (below.empty()) break;
      pid = below.front();
    }
  }
  finish(units);
}

// A thread has no memory of its own: what the program grows by when it starts is what it costs.
void look_at_threads(int workers, table& found) {
  std::vector<tandem::thread<std::size_t>> units;
  {
    const opening at_the_end;
    const pid_t self = tandem::this_worker::id();
    memory_use before = memory_of(self);
    for (int i = 0; i < workers; ++i) {
      start_another(units);
      const memory_use now = memory_of(self);
      found.threads.push_back(now - before);
      before = now;
    }
  }
  finish(units);
}

memory_use total_of(const std::vector<memory_use>& all) {
  memory_use sum{0, 0, 0};
  for (const memory_use& one : all) sum = sum + one;
  return sum;
}

// ---- the report -----------------------------------------------------------------------------------------------------

std::string cell(const std::optional<double>& kib) { return kib ? fmt::format("{:.0f}", *kib) : "-"; }

std::string line(const std::string& name, const memory_use& use) {
  return fmt::format("  {:<20}{:>12}{:>12}{:>12}\n", name, cell(use.rss), cell(use.pss), cell(use.own));
}

std::string as_text(const std::vector<memory_use>& all, const char* one, const char* many) {
  std::string text = "\n";
  for (std::size_t i = 0; i < all.size(); ++i) text += line(fmt::format("{} {}", one, i + 1), all[i]);
  return text + line(fmt::format("{} {}", all.size(), all.size() == 1 ? one : many), total_of(all));
}

json::members as_members(const memory_use& use) {
  const auto number = [](const std::optional<double>& kib) { return kib ? json::number(*kib) : "null"; };
  return {{"rss_kib", number(use.rss)}, {"pss_kib", number(use.pss)}, {"private_kib", number(use.own)}};
}

std::string as_json(const char* unit, std::size_t number, const memory_use& use) {
  json::members all{{"unit", json::text(unit)}};
  if (number > 0) all.emplace_back("number", std::to_string(number));
  for (auto& member : as_members(use)) all.push_back(std::move(member));
  return json::object(all);
}

constexpr const char* explanation = R"(
RSS counts each page for all that have it, PSS divides it among them; private is what only this one
has, and what its end gives back. A thread's figures are what the program grew by at its start. The
processes share what was there before tandem::init(), the data included, until they write to it.
)";

void report_as_text(const table& found, const memory_options& options) {
  std::string text =
      fmt::format("Memory in KiB, held by workers that have read {} MiB of this program's data.\n\n", options.mib);
  text += fmt::format("  {:<20}{:>12}{:>12}{:>12}", "", "RSS", "PSS", "private");
  text += as_text(found.threads, "thread", "threads");
  text += as_text(found.processes, "process", "processes") + "\n";
  for (const auto& [name, use] : found.rest) text += line(name, use);
  print(text + explanation);
}

void report_as_json(const table& found, const memory_options& options) {
  std::vector<std::string> rows;
  const auto add = [&rows](const char* unit, const std::vector<memory_use>& all) {
    for (std::size_t i = 0; i < all.size(); ++i) rows.push_back(as_json(unit, i + 1, all[i]));
  };
  add("thread", found.threads);
  add("process", found.processes);
  for (const auto& [name, use] : found.rest) rows.push_back(as_json(name, 0, use));
  print(json::object({{"workers", std::to_string(options.workers)},
                      {"mib", std::to_string(options.mib)},
                      {"rows", json::lines(rows)},
                      {"totals", json::lines({as_json("thread", 0, total_of(found.threads)),
                                              as_json("process", 0, total_of(found.processes))})}}) +
        "\n");
}

}  // namespace

void compare_memory(const memory_options& options) {
  data = std::make_unique<kernel::touched_memory>(static_cast<std::size_t>(options.mib) << 20);
  gate = std::make_unique<kernel::gate>();
  tandem::init();
  table found;
  look_at_processes(options.workers, found);
  look_at_threads(options.workers, found);
  options.json ? report_as_json(found, options) : report_as_text(found, options);
}

}  // namespace cli
