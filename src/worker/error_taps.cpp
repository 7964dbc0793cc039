#include "worker/error_taps.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "worker/protocol.hpp"

namespace tandem::worker {

namespace {

constexpr int standard_error = 2;

bool is_ready(os::ready one) {
  std::array<os::ready, 1> set{{one}};
  return os::wait_ready(set, os::now) == 1;
}

}  // namespace

void error_taps::add(file_descriptor end) {
  tap made;
  made.end = std::move(end);
  taps_.push_back(std::move(made));
}

// False if nothing is there now.
bool error_taps::read(tap& t) {
  if (t.at_end || !is_ready({t.end.get()})) return false;
  std::array<char, kept_error_bytes> buffer;
  const long got = os::read_some(t.end.get(), std::as_writable_bytes(std::span(buffer)));
  if (got <= 0) {
    t.at_end = got == 0;
    return false;
  }
  const auto size = static_cast<std::size_t>(got);
  t.waiting.append(buffer.data(), size);
  t.tail.append(buffer.data(), size);
  if (t.tail.size() > kept_error_bytes) t.tail.erase(0, t.tail.size() - kept_error_bytes);
  return true;
}

void error_taps::write(tap& t) {
  while (!t.waiting.empty() && is_ready({standard_error, false, true})) {
    const auto some = std::as_bytes(std::span(t.waiting)).first(std::min(t.waiting.size(), kept_error_bytes));
    const long put = os::write_some(standard_error, some);
    if (put == -EAGAIN) return;
    if (put < 0) t.waiting.clear();  // it is closed, or nobody reads it: so it would be for the worker
    if (put > 0) t.waiting.erase(0, static_cast<std::size_t>(put));
  }
}

void error_taps::pass_on() {
  for (tap& t : taps_) {
    write(t);
    if (t.waiting.empty() && read(t)) write(t);
  }
  std::erase_if(taps_, [](const tap& t) { return t.at_end && t.waiting.empty() && t.pid == 0; });
}

std::string error_taps::end_of(pid_t pid) {
  const auto found = std::find_if(taps_.begin(), taps_.end(), [pid](const tap& t) { return t.pid == pid; });
  if (found == taps_.end()) return {};
  while (read(*found)) {
  }
  write(*found);
  found->pid = 0;
  return found->tail;
}

}  // namespace tandem::worker
