#include "output.hpp"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fmt/core.h>

namespace cli {

namespace {

bool output_was_closed = false;

// Asking for the position fails with another error for pipes and terminals, which have none.
bool is_closed(std::FILE* stream) { return std::ftell(stream) == -1 && errno == EBADF; }

}  // namespace

void keep_standard_streams() {
  output_was_closed = is_closed(stdout);
  // Each print() is one write: what fails is said at once, and nothing stays behind to fail again at exit.
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  // In the order of their numbers: what is opened gets the lowest free one.
  for (std::FILE* stream : {stdin, stdout, stderr}) {
    if (is_closed(stream)) static_cast<void>(std::freopen("/dev/null", stream == stdin ? "r" : "w", stream));
  }
}

void print(std::string_view text) {
  const bool written = !output_was_closed && std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  const int error = output_was_closed ? EBADF : errno;
  if (written) return;
  std::clearerr(stdout);  // it is said here, and need not be said again by whoever flushes the stream
  throw std::system_error(error, std::generic_category(), "cannot write to standard output");
}

void complain(std::string_view sentence) noexcept {
  // Nobody is left who could be told that this failed.
  static_cast<void>(std::fwrite("tandem: ", 1, 8, stderr));
  static_cast<void>(std::fwrite(sentence.data(), 1, sentence.size(), stderr));
  static_cast<void>(std::fputc('\n', stderr));
}

}  // namespace cli
