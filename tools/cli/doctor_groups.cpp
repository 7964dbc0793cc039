#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include <tandem/this_worker.hpp>

#include "control_group.hpp"
#include "findings.hpp"
#include "kernel/fences.hpp"
#include "text_files.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;

// A group below an own one, made to see whether it can be.
class trial_group {
 public:
  explicit trial_group(const std::string& parent)
      : directory_(fs::path(parent) / fmt::format("tandem-doctor-{}", tandem::this_worker::id())) {
    if (!fs::create_directory(directory_, error_) && !error_) error_ = std::make_error_code(std::errc::file_exists);
  }
  trial_group(const trial_group&) = delete;
  trial_group& operator=(const trial_group&) = delete;
  ~trial_group() {
    // The kernel may need a moment until a group whose only process was killed is empty.
    std::error_code error;
    for (int tries = 0; !error_ && tries < 200 && !fs::remove(directory_, error); ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  const std::error_code& error() const noexcept { return error_; }
  std::string directory() const { return directory_; }

 private:
  fs::path directory_;
  std::error_code error_;
};

std::string reason(const std::error_code& error) { return kernel::tried{.error = error.value()}.why(); }

finding layout(const std::vector<control_group>& groups) {
  std::size_t first = 0;
  std::size_t second = 0;
  for (const control_group& group : groups) ++(group.version == 1 ? first : second);
  const char* value = first == 0 ? "v2" : second == 0 ? "v1" : "v1 and v2";
  if (groups.empty()) return {"cgroups", answer::no, "none mounted", "Quotas of a container cannot be seen."};
  return {"cgroups", answer::value, value,
          first == 0 ? "One hierarchy with all controllers."
                     : "The controllers of version 1 have a hierarchy each; limits are looked up in all of them."};
}

finding delegated(const std::vector<control_group>& groups) {
  std::vector<std::string> writable;
  std::error_code last;
  for (const control_group& group : groups) {
    const trial_group made(group.directory);
    last = made.error();
    if (!last) writable.push_back(group.version == 2 ? "v2" : fmt::format("{}", fmt::join(group.controllers, ",")));
  }
  const char* name = "cgroup, delegated";
  if (writable.empty()) {
    return {name, answer::no, last ? reason(last) : "no groups",
            "No groups can be made: limits are those of each process."};
  }
  const std::string which = fmt::format("{}", fmt::join(writable, " "));
  if (writable.size() == groups.size()) {
    return {name, answer::yes, {}, "Groups can be made, with limits for all processes in them together."};
  }
  return {name, answer::limited, which, "Groups can be made in these hierarchies only."};
}

finding killing(const std::vector<control_group>& groups) {
  const char* const name = "cgroup.kill";
  const char* const without = "A group cannot be ended at once; what is below a process is looked for in /proc.";
  for (const control_group& group : groups) {
    if (group.version != 2) continue;
    const trial_group made(group.directory);
    if (made.error()) return {name, answer::no, reason(made.error()), without};
    const kernel::tried done = kernel::in_child([&] { return kernel::killed_by_group(made.directory()); });
    if (done.signal == 9) return {name, answer::yes, {}, "All processes of a group can be ended at once."};
    return {name, answer::no, done.why(), without};
  }
  return {name, answer::no, "no v2", without};
}

finding quota(const std::vector<control_group>& groups) {
  const std::optional<double> cpus = cpu_quota(groups);
  if (!cpus) return {"CPU quota", answer::value, "none", "No group of this process limits its CPU time."};
  return {"CPU quota", answer::value, fmt::format("{:.2f} CPUs", *cpus),
          "More workers than that wait for each other; available_cpus() counts it."};
}

finding limit(const std::vector<control_group>& groups) {
  const std::optional<std::uint64_t> bytes = memory_limit(groups);
  if (!bytes) return {"memory limit", answer::value, "none", "No group of this process limits its memory."};
  return {"memory limit", answer::value, in_binary_units(*bytes),
          "Who makes all processes of this group use more together gets one of them killed."};
}

}  // namespace

section control_groups() {
  const std::vector<control_group> groups = own_control_groups();
  return {"Control groups", {layout(groups), delegated(groups), killing(groups), quota(groups), limit(groups)}};
}

}  // namespace cli
