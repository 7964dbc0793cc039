#include "fresh_image.hpp"

#include <cstdlib>

#include <tandem/init.hpp>

namespace cli {

namespace {
constexpr const char* mark = "TANDEM_CLI_FRESH_IMAGE";
}

tandem::process_options as_fresh_image() {
  return {.start = tandem::start_method::spawn, .environment = {{mark, "1"}}};
}

void serve_if_fresh_image() {
  if (std::getenv(mark) != nullptr) tandem::init();
}

}  // namespace cli
