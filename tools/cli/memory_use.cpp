#include "memory_use.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

#include "text_files.hpp"

namespace cli {

namespace {

std::string proc(pid_t pid) { return "/proc/" + std::to_string(pid); }

template <class F>
std::optional<double> both(const std::optional<double>& a, const std::optional<double>& b, F f) {
  return a && b ? std::optional(f(*a, *b)) : std::nullopt;
}

std::optional<double> kib_in(const std::string& file, const std::string& name) {
  const auto number = field_in(file, name);
  return number ? std::optional(static_cast<double>(*number)) : std::nullopt;
}

}  // namespace

memory_use operator+(const memory_use& a, const memory_use& b) {
  return {a.rss + b.rss, both(a.pss, b.pss, std::plus<>()), both(a.own, b.own, std::plus<>())};
}

memory_use operator-(const memory_use& a, const memory_use& b) {
  return {a.rss - b.rss, both(a.pss, b.pss, std::minus<>()), both(a.own, b.own, std::minus<>())};
}

memory_use memory_of(pid_t pid) {
  const std::string rollup = proc(pid) + "/smaps_rollup";
  if (const auto rss = kib_in(rollup, "Rss")) {
    return {*rss, kib_in(rollup, "Pss"),
            both(kib_in(rollup, "Private_Clean"), kib_in(rollup, "Private_Dirty"), std::plus<>())};
  }
  if (const auto rss = kib_in(proc(pid) + "/status", "VmRSS")) return {*rss, {}, {}};
  throw std::runtime_error(fmt::format("{} does not tell how much memory it holds: is /proc mounted?", proc(pid)));
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code gone;
  for (std::filesystem::directory_iterator at(proc(parent) + "/task", gone), end; !gone && at != end;
       at.increment(gone)) {
    std::ifstream list(at->path() / "children");
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  return children;
}

}  // namespace cli
