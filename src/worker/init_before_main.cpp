// tandem::init() before main, for a program whose main cannot be edited.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <tandem/init.hpp>

#include "os/own_module.hpp"

namespace {

void initialise() noexcept {
  try {
    tandem::init();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tandem: error: %s\n", e.what());
    std::exit(EXIT_FAILURE);
  }
}

// In a library this is the only moment before main: when it is loaded. Globals that are made later are not in the
// workers.
[[gnu::constructor]] void at_load() {
  if (!tandem::os::in_program(reinterpret_cast<const void*>(&at_load))) initialise();
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
