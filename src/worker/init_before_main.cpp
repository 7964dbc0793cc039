// tandem::init() before main, for a program whose main cannot be edited.
#include <link.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <tandem/init.hpp>

namespace {

void initialise() noexcept {
  try {
    tandem::init();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tandem: error: %s\n", e.what());
    std::exit(EXIT_FAILURE);
  }
}

// True if this file was linked into a shared library: then the first object of the process, the program, does not hold it.
bool in_a_library() {
  struct looked {
    std::uintptr_t address;
    bool first = true;
    bool in_program = false;
  } state{reinterpret_cast<std::uintptr_t>(&in_a_library)};
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* argument) {
        auto* s = static_cast<looked*>(argument);
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const auto& segment = object->dlpi_phdr[i];
          const std::uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
          if (segment.p_type == PT_LOAD && s->address >= begin && s->address < begin + segment.p_memsz) s->in_program = true;
        }
        return 1;  // the program is the first
      },
      &state);
  return !state.in_program;
}

// In a library this is the only moment before main: when it is loaded. Globals that are made later are not in the workers.
[[gnu::constructor]] void at_load() {
  if (in_a_library()) initialise();
}

}  // namespace

// In a program: linked with --wrap=main, so that main is called from here, when all globals of all files exist.
extern "C" {
[[gnu::weak]] int __real_main(int, char**, char**);
int __wrap_main(int argc, char** argv, char** environment) {
  initialise();
  return __real_main(argc, argv, environment);
}
}
