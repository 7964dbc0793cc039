#pragma once
// Waiting for one descriptor, and the errors that all kinds of channel share.
#include "os/kernel.hpp"

namespace tandem::channel {

/// False at the deadline. Throws resource_exhausted.
bool wait_until_readable(int fd, clock::time_point deadline);
bool wait_until_writable(int fd, clock::time_point deadline);
bool ready_now(int fd);
bool writable_now(int fd);

[[noreturn]] void throw_refused();
[[noreturn]] void throw_no_answer();
[[noreturn]] void throw_hung_up();

}  // namespace tandem::channel
