#pragma once
// `tandem compare memory`.
namespace cli {

struct memory_options {
  int workers = 4;
  int mib = 64;
  bool json = false;
};

/// Holds so many processes, then so many threads, at a point at which each has read this program's data, and says what
/// each of them holds of memory; prints a table, or JSON.
/// Needs: no other thread, and no tandem::init() before. Errors: std::system_error; std::runtime_error; those of
/// tandem::process and tandem::thread.
void compare_memory(const memory_options&);

}  // namespace cli
