#include <filesystem>

#include <fmt/format.h>

#include <tandem/init.hpp>

#include "findings.hpp"
#include "kernel/machine.hpp"
#include "text_files.hpp"

namespace cli {

namespace {

using kernel::resource;

std::string counted(const std::optional<std::uint64_t>& n) { return n ? std::to_string(*n) : "unlimited"; }
std::string sized(const std::optional<std::uint64_t>& n) {
  return n ? (*n == 0 ? "0" : in_binary_units(*n)) : "unlimited";
}

std::string with_hard(const std::string& soft, const std::string& hard) {
  return soft == hard ? soft : fmt::format("{} (at most {})", soft, hard);
}

finding descriptors() {
  const kernel::limit l = kernel::limit_of(resource::descriptors);
  return {"open files", answer::value, with_hard(counted(l.soft), counted(l.hard)),
          "Each process that runs takes one descriptor of the program that started it."};
}

finding processes() {
  const kernel::limit l = kernel::limit_of(resource::processes);
  return {"processes", answer::value, with_hard(counted(l.soft), counted(l.hard)),
          kernel::user() == 0 ? "Root is not held to it."
                              : "All threads and processes of this user count, those of other programs too."};
}

finding address_space() {
  const kernel::limit l = kernel::limit_of(resource::address_space);
  return {"address space", answer::value, with_hard(sized(l.soft), sized(l.hard)),
          l.soft ? "Each program and each worker may map so much; beyond, allocations fail."
                 : "Allocations do not fail for it."};
}

finding locked_memory() {
  const kernel::limit l = kernel::limit_of(resource::locked_memory);
  return {"locked memory", answer::value, with_hard(sized(l.soft), sized(l.hard)),
          "Nothing in tandem locks memory; what a worker locks itself counts."};
}

finding core_file() {
  const kernel::limit l = kernel::limit_of(resource::core_file);
  return {"core file", answer::value, with_hard(sized(l.soft), sized(l.hard)),
          l.soft == 0 ? "A crash writes no core file." : "A crash may write a core file, which takes time and space."};
}

finding core_pattern() {
  const auto pattern = first_line("/proc/sys/kernel/core_pattern");
  const bool piped = pattern && pattern->starts_with("|");
  return {"core pattern", answer::value, pattern && !pattern->empty() ? *pattern : "unknown",
          piped ? "A core goes to that program, whatever the limit of the core file says."
                : "So a core file is named, in the folder in which the process ran."};
}

finding pids() {
  const auto most = first_line("/proc/sys/kernel/pid_max");
  return {"pid_max", answer::value, most.value_or("unknown"),
          "Threads and processes of the machine together; a number is used again after so many starts."};
}

finding threads() {
  const auto most = first_line("/proc/sys/kernel/threads-max");
  return {"threads-max", answer::value, most.value_or("unknown"), "Threads and processes of the machine together."};
}

finding tracing() {
  const auto scope = first_line("/proc/sys/kernel/yama/ptrace_scope");
  const std::string mode = scope.value_or("no Yama");
  return {"ptrace_scope", answer::value, mode,
          mode == "no Yama" || mode == "0" ? "A debugger can be attached to a worker by the user whose it is."
          : mode == "1"                    ? "A debugger can be attached to a worker by root, or by what started it."
          : mode == "2"                    ? "A debugger can be attached to a worker by root only."
                                           : "No debugger can be attached to a worker."};
}

finding proc() {
  std::error_code error;
  if (std::filesystem::exists("/proc/self/stat", error)) {
    return {"/proc", answer::yes, "mounted", "What is below a process is found and ended with it."};
  }
  return {"/proc", answer::no, "not mounted",
          "What a killed process had started itself may go on; memory and quotas are not known."};
}

finding cpus() {
  const unsigned usable = tandem::available_cpus();
  const unsigned there = kernel::online_cpus();
  return {"CPUs", answer::value, fmt::format("{} of {}", usable, there),
          usable < there ? "Affinity or a quota leaves so many to this program, which is what available_cpus() counts."
                         : "All of them: neither affinity nor a quota takes one away."};
}

}  // namespace

section limits() {
  return {"Limits",
          {descriptors(), processes(), address_space(), locked_memory(), core_file(), core_pattern(), pids(), threads(),
           tracing(), proc(), cpus()}};
}

}  // namespace cli
