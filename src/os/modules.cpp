#include "os/modules.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

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

template <class Match>
std::optional<loaded_module> find(Match match) {
  std::optional<loaded_module> found;
  visit_modules([&](const dl_phdr_info& object) {
    if (!match(object)) return false;
    found = described(object);
    return true;
  });
  return found;
}

bool read_at(int fd, void* to, std::size_t size, std::uint64_t offset) {
  return offset <= static_cast<std::uint64_t>(INT64_MAX) &&
         ::pread(fd, to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

constexpr std::size_t max_notes = 64 * 1024;

/// The build-id of an ELF file of this machine's word size, or nothing.
std::vector<std::byte> build_id_of_file(const std::string& path) {
  // O_NONBLOCK: the path may have become a FIFO.
  const file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
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

std::optional<loaded_module> find_module_by_id(std::span<const std::byte> build_id) {
  return find([&](const dl_phdr_info& object) {
    const auto id = build_id_of(object);
    return !id.empty() && std::equal(id.begin(), id.end(), build_id.begin(), build_id.end());
  });
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
  const auto of_file = build_id_of_file(path);
  if (!std::equal(of_file.begin(), of_file.end(), build_id.begin(), build_id.end())) {
    why_not = path + " is not readable or is another build";
    return std::nullopt;
  }
  if (::dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE) == nullptr) {
    const char* text = ::dlerror();
    why_not = text != nullptr ? text : "dlopen failed";
    return std::nullopt;
  }
  auto found = find_module_by_id(build_id);
  if (!found) why_not = path + " changed while it was loaded";
  return found;
}

}  // namespace tandem::os
