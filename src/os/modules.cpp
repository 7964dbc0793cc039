#include "os/modules.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <system_error>

#include <tandem/file_descriptor.hpp>

namespace tandem::os {

namespace {

constexpr std::size_t note_alignment(std::size_t segment_alignment) { return segment_alignment == 8 ? 8 : 4; }

constexpr std::size_t rounded(std::size_t size, std::size_t alignment) {
  return (size + alignment - 1) & ~(alignment - 1);
}

/// The build-id among the notes of one PT_NOTE segment, or nothing.
std::span<const std::byte> build_id_among(std::span<const std::byte> notes, std::size_t alignment) {
  ElfW(Nhdr) header{};
  while (notes.size() >= sizeof header) {
    std::memcpy(&header, notes.data(), sizeof header);
    notes = notes.subspan(sizeof header);
    const std::size_t name_size = rounded(header.n_namesz, alignment);
    const std::size_t size = rounded(header.n_descsz, alignment);
    if (name_size > notes.size() || header.n_descsz > notes.size() - name_size) return {};
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 && std::memcmp(notes.data(), "GNU", 4) == 0) {
      return notes.subspan(name_size, header.n_descsz);
    }
    notes = notes.subspan(std::min(name_size + size, notes.size()));
  }
  return {};
}

std::span<const std::byte> build_id_of(const dl_phdr_info& object) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    // SAFETY: the loader mapped the segment, and keeps it mapped while dl_iterate_phdr is at it.
    const auto* begin = reinterpret_cast<const std::byte*>(object.dlpi_addr + segment.p_vaddr);
    const auto id = build_id_among({begin, segment.p_memsz}, note_alignment(segment.p_align));
    if (!id.empty()) return id;
  }
  return {};
}

bool holds_code(const dl_phdr_info& object, std::uintptr_t address) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    if (address - (object.dlpi_addr + segment.p_vaddr) < segment.p_memsz) return true;
  }
  return false;
}

loaded_module described(const dl_phdr_info& object) {
  loaded_module m;
  m.base = object.dlpi_addr;
  const auto id = build_id_of(object);
  m.build_id.assign(id.begin(), id.end());
  m.path = object.dlpi_name;
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    const std::uintptr_t begin = object.dlpi_addr + segment.p_vaddr;
    m.code.push_back({begin, begin + segment.p_memsz});
  }
  return m;
}

/// Calls `visit` for each module until it says true.
template <class Visit>
void visit_modules(Visit visit) {
  dl_iterate_phdr([](dl_phdr_info* object, std::size_t, void* v) { return (*static_cast<Visit*>(v))(*object) ? 1 : 0; },
                  &visit);
}

/// The file that is mapped at `address`, as the kernel has it; empty without /proc, or if it is none.
std::string mapped_file(std::uintptr_t address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    char* end = nullptr;
    const auto from = static_cast<std::uintptr_t>(std::strtoull(line.c_str(), &end, 16));
    const auto to = static_cast<std::uintptr_t>(std::strtoull(end + 1, nullptr, 16));
    if (address < from || address >= to) continue;
    const std::size_t path = line.find('/');
    return path == std::string::npos ? std::string() : line.substr(path);
  }
  return {};
}

/// The loader keeps the name by which a library was opened. A relative one says nothing to a process that is in another
/// folder.
void make_path_absolute(loaded_module& m) {
  if (m.path.empty() || m.path.front() == '/' || m.code.empty()) return;
  const std::string file = mapped_file(m.code.front().begin);
  if (!file.empty()) m.path = file;
}

/// All modules for which `match` says true.
template <class Match>
std::vector<loaded_module> find_all(Match match) {
  std::vector<loaded_module> found;
  visit_modules([&](const dl_phdr_info& object) {
    if (match(object)) found.push_back(described(object));
    return false;
  });
  for (loaded_module& m : found) make_path_absolute(m);
  return found;
}

template <class Match>
std::optional<loaded_module> find(Match match) {
  std::optional<loaded_module> found;
  visit_modules([&](const dl_phdr_info& object) {
    if (!match(object)) return false;
    found = described(object);
    return true;
  });
  if (found) make_path_absolute(*found);
  return found;
}

bool has_build_id(const dl_phdr_info& object, std::span<const std::byte> build_id) {
  const auto id = build_id_of(object);
  return !id.empty() && std::equal(id.begin(), id.end(), build_id.begin(), build_id.end());
}

bool read_at(int fd, void* to, std::size_t size, std::uint64_t offset) {
  return offset <= static_cast<std::uint64_t>(INT64_MAX) &&
         ::pread(fd, to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

constexpr std::size_t max_notes = 64 * 1024;

/// The build-id of an ELF file of this machine's word size, or nothing.
std::vector<std::byte> build_id_of_file(const file_descriptor& file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  ElfW(Ehdr) header{};
  if (!read_at(file.get(), &header, sizeof header, 0) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) ||
      header.e_phentsize != sizeof(ElfW(Phdr))) {
    return {};
  }
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment{};
    if (!read_at(file.get(), &segment, sizeof segment, header.e_phoff + i * sizeof segment)) return {};
    if (segment.p_type != PT_NOTE || segment.p_filesz > max_notes) continue;
    std::vector<std::byte> notes(segment.p_filesz);
    if (!read_at(file.get(), notes.data(), notes.size(), segment.p_offset)) return {};
    const auto id = build_id_among(notes, note_alignment(segment.p_align));
    if (!id.empty()) return {id.begin(), id.end()};
  }
  return {};
}

}  // namespace

bool loaded_module::holds_code(std::uintptr_t address) const noexcept {
  return std::any_of(code.begin(), code.end(),
                     [&](const code_range& range) { return address >= range.begin && address < range.end; });
}

const loaded_module& program() {
  // The loader lists the program first. Never destroyed: it is asked for until the last destructor.
  static const loaded_module& found = *new loaded_module(find([](const dl_phdr_info&) { return true; }).value());
  return found;
}

std::optional<loaded_module> find_module(const void* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  return find([&](const dl_phdr_info& object) { return holds_code(object, wanted); });
}

std::vector<loaded_module> find_modules_by_id(std::span<const std::byte> build_id) {
  return find_all([&](const dl_phdr_info& object) { return has_build_id(object, build_id); });
}

unsigned long long modules_unloaded() {
  unsigned long long count = 0;
  visit_modules([&](const dl_phdr_info& object) {
    count = object.dlpi_subs;
    return true;
  });
  return count;
}

std::optional<loaded_module> load_module(const std::string& path, std::span<const std::byte> build_id,
                                         std::string& why_not) {
  if (path.empty() || path.front() != '/') {
    why_not = "it is not loaded, and its file is not known";
    return std::nullopt;
  }
  // O_NONBLOCK: the path may have become a FIFO.
  const file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    why_not = "it is not loaded, and its file cannot be opened: " + std::generic_category().message(errno);
    return std::nullopt;
  }
  const auto of_file = build_id_of_file(file);
  if (!std::equal(of_file.begin(), of_file.end(), build_id.begin(), build_id.end())) {
    why_not = "it is not loaded, and its file is another build by now";
    return std::nullopt;
  }
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE);
  const link_map* loaded = nullptr;
  if (library == nullptr || ::dlinfo(library, RTLD_DI_LINKMAP, &loaded) != 0) {
    const char* text = ::dlerror();
    why_not = text != nullptr ? text : "dlopen failed";
    return std::nullopt;
  }
  auto found = find(
      [&](const dl_phdr_info& object) { return object.dlpi_addr == loaded->l_addr && has_build_id(object, build_id); });
  if (!found) why_not = "its file changed while it was loaded";
  return found;
}

}  // namespace tandem::os
