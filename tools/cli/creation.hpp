#pragma once
// `tandem compare creation`.
namespace cli {

struct creation_options {
  int rounds = 7;
  int runs = 100;
  bool large = false;
  bool json = false;
};

/// Measures what it takes to start and to join a thread and a process that do nothing, beside what the system itself
/// can do, in hosts that hold more and more memory; prints a table, or JSON.
/// Needs: no other thread, and no tandem::init() before. Errors: std::system_error; std::runtime_error if memory does
/// not suffice for what was asked for; those of tandem::process.
void compare_creation(const creation_options&);

}  // namespace cli
