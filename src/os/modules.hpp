#pragma once
// The program and the libraries that are loaded into this process: where their code lies, and what they are called.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tandem::os {

struct code_range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

/// One program or library, as the loader mapped it. A copy: it does not keep the module loaded.
struct loaded_module {
  std::uintptr_t base = 0;
  std::vector<std::byte> build_id = {};  // empty if the linker wrote none; 20 bytes from bfd and gold, 8 from lld
  std::string path = {};                 // empty for the program itself; absolute, where that can be known
  std::vector<code_range> code = {};     // the executable segments

  [[gnu::hot]] bool holds_code(std::uintptr_t address) const noexcept;
};

/// The program itself.
[[gnu::hot]] const loaded_module& program();
/// The module whose code holds `address`.
std::optional<loaded_module> find_module(const void* address);
/// The modules with this build-id: several, if copies of one library are loaded.
std::vector<loaded_module> find_modules_by_id(std::span<const std::byte> build_id);
/// How many modules have been unloaded so far. While it stays the same, a loaded_module stays true.
unsigned long long modules_unloaded();
/// Loads the library at an absolute `path` for good, if its file has this build-id; says why not otherwise. Nothing of
/// a file with another build-id is run.
std::optional<loaded_module> load_module(const std::string& path, std::span<const std::byte> build_id,
                                         std::string& why_not);

}  // namespace tandem::os
