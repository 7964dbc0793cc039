#pragma once
// What starting and joining costs without tandem: the system's own calls.
namespace cli::kernel {

/// Each: one start, and the wait for its end. Errors: std::system_error.
void fork_and_wait();
void spawn_and_wait(const char* program);

}  // namespace cli::kernel
