#pragma once
// Whether the code that includes this was linked into the program or into a shared library. In a header, since each of
// them has its own copy.
#include <link.h>

#include <cstddef>
#include <cstdint>

namespace tandem::os {
namespace {

// True if `address` lies in the first object of the process, which is the program.
inline bool in_program(const void* address) {
  struct looked {
    std::uintptr_t address;
    bool found = false;
  } state{reinterpret_cast<std::uintptr_t>(address)};
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* argument) {
        auto* s = static_cast<looked*>(argument);
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto& segment = object->dlpi_phdr[i];
          const std::uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
          if (segment.p_type == PT_LOAD && s->address >= begin && s->address < begin + segment.p_memsz) s->found = true;
        }
        return 1;
      },
      &state);
  return state.found;
}

}  // namespace
}  // namespace tandem::os
