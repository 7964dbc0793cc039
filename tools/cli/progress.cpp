#include "progress.hpp"

#include <cstdio>

#include "kernel/machine.hpp"

namespace cli {

namespace {

void write(const std::string& text) noexcept {
  // Nobody is left who could be told that this failed.
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
}

constexpr const char* empty_line = "\r\x1b[K";

}  // namespace

progress::progress() : shown_(kernel::errors_go_to_a_terminal()) {}

progress::~progress() {
  if (shown_) write(empty_line);
}

void progress::say(const std::string& what) noexcept {
  if (shown_) write(empty_line + what);
}

}  // namespace cli
