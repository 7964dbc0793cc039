#include <filesystem>

#include <fmt/format.h>

#include "findings.hpp"
#include "kernel/calls.hpp"
#include "text_files.hpp"

namespace cli {

namespace {

constexpr const char* meminfo = "/proc/meminfo";

std::string or_unknown(const std::optional<std::string>& text) { return text.value_or("unknown"); }

finding amount() {
  const auto total = field_in(meminfo, "MemTotal");
  const auto free = field_in(meminfo, "MemAvailable");
  if (!total || !free) return {"memory", answer::value, "unknown", "Without /proc nobody says how much there is."};
  return {"memory", answer::value,
          fmt::format("{} of {} free", in_binary_units(*free * 1024), in_binary_units(*total * 1024)),
          "Workers share what the fork server has loaded, until they write to it."};
}

finding overcommit() {
  const auto mode = first_line("/proc/sys/vm/overcommit_memory");
  return {"overcommit", answer::value, or_unknown(mode),
          mode == "2" ? "Memory is promised only where it is there: fork of a large program may fail, the fork "
                        "server's does not grow with it."
                      : "A copy of a large program is promised more memory than there may be; who touches too much "
                        "is killed."};
}

finding huge_pages() {
  const std::string text = or_unknown(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  const std::size_t begin = text.find('[');
  const std::size_t end = text.find(']');
  const bool marked = begin != std::string::npos && end != std::string::npos && begin < end;
  const std::string mode = marked ? text.substr(begin + 1, end - begin - 1) : text;
  return {"transparent huge pages", answer::value, mode,
          mode == "always"    ? "Large memory comes in large pages, which makes fork of a large program cheaper."
          : mode == "madvise" ? "Large pages come only where a program asks for them (madvise)."
                              : "Memory comes in small pages, of which fork copies a table entry each."};
}

finding reserved_pages() {
  const auto total = field_in(meminfo, "HugePages_Total");
  const auto free = field_in(meminfo, "HugePages_Free");
  const bool some = total.value_or(0) > 0;
  return {"reserved huge pages", answer::value, fmt::format("{} ({} free)", total.value_or(0), free.value_or(0)),
          some ? "Shared memory can be asked for in large pages." : "None: an administrator sets vm.nr_hugepages."};
}

finding shared_memory_files() {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space("/dev/shm", error);
  if (error)
    return {"/dev/shm", answer::no, kernel::tried{.error = error.value()}.why(),
            "Shared memory can be given no name; tandem does without."};
  return {"/dev/shm", answer::value,
          fmt::format("{} of {} free", in_binary_units(space.available), in_binary_units(space.capacity)),
          "For shared memory with a name; that without, which is the rule, does not count here."};
}

}  // namespace

section memory() {
  return {"Memory",
          {amount(), overcommit(), huge_pages(), reserved_pages(),
           found_by({"memfd of huge pages", kernel::call_memfd_hugetlb,
                     "Shared memory in large pages was made and touched.",
                     "Shared memory comes in small pages; each costs its first touch."}),
           shared_memory_files()}};
}

}  // namespace cli
