#include "channel/waiting.hpp"

#include <tandem/error.hpp>

namespace tandem::channel {

namespace {
bool wait(os::ready one, clock::time_point deadline) {
  // Also of one that is ready again and again: a peer that sends its bytes one by one gets no further time by that.
  if (deadline == os::now || (deadline != os::never && clock::now() >= deadline)) return false;
  std::array<os::ready, 1> set{one};
  return os::check(os::wait_ready(set, deadline), "ppoll") == 1;
}
}  // namespace

bool wait_until_readable(int fd, clock::time_point deadline) { return wait({fd, false, false}, deadline); }

bool wait_until_writable(int fd, clock::time_point deadline) { return wait({fd, false, true}, deadline); }

bool ready_now(int fd) {
  std::array<os::ready, 1> set{{{fd}}};
  return os::check(os::wait_ready(set, os::now), "ppoll") == 1;
}

bool writable_now(int fd) {
  std::array<os::ready, 1> set{{{fd, false, true}}};
  return os::check(os::wait_ready(set, os::now), "ppoll") == 1;
}

void throw_refused() {
  throw broken_connection(
      "tandem: the listener sends and receives messages of other types than this client: connect<Send, Receive>() "
      "names "
      "them from this side, accept<Send, Receive>() from the other");
}

void throw_no_answer() {
  throw timed_out("tandem: the listener did not answer by handshake_deadline; it accepts nobody, or is no tandem");
}

void throw_hung_up() {
  throw broken_connection("tandem: the peer hung up before it had answered: it is no listener of tandem, or has ended");
}

}  // namespace tandem::channel
