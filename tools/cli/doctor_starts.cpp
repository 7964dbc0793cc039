#include <cerrno>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/thread.hpp>

#include "findings.hpp"
#include "fresh_image.hpp"
#include "kernel/child.hpp"
#include "text_files.hpp"

namespace cli {

namespace {

int successor(int number) { return number + 1; }

int by_thread() {
  tandem::thread unit(successor, 41);
  return unit.get();
}

int by_fork_server() {
  tandem::init();
  tandem::process unit(successor, 41);
  return unit.get();
}

int by_spawn() {
  tandem::init();
  tandem::process unit(as_fresh_image(), successor, 41);
  return unit.get();
}

int by_fork_options() {
  tandem::init();
  tandem::process unit(tandem::fork_options{}, successor, 41);
  return unit.get();
}

// Each is really started, and its value fetched.
struct start_method {
  const char* name;
  int (*value_of_42)();
  need how_much;
};

constexpr start_method methods[] = {
    {"thread", by_thread, need::required},
    {"process, fork_server", by_fork_server, need::required},
    {"process, spawn", by_spawn, need::optional},
    {"process, fork_options", by_fork_options, need::optional},
};

// In a child, as all that is tried: what kills it, and what it leaves behind, are the child's.
finding tried(const start_method& method) {
  const bool needed = method.how_much == need::required;
  const kernel::tried done = kernel::in_child([&] { return method.value_of_42() == 42 ? 0 : -EPROTO; });
  if (done.worked()) return {method.name, answer::yes, {}, "One was started, and its value came back.", needed};
  if (done.said.empty()) return {method.name, answer::no, done.why(), "None can be started in this way.", needed};
  std::string meaning = "Starting one failed: " + printable(done.said);
  if (!meaning.ends_with('.')) meaning += '.';
  return {method.name, answer::no, {}, meaning, needed};
}

}  // namespace

section start_methods() {
  section all{"Start methods", {}};
  for (const start_method& method : methods) all.rows.push_back(tried(method));
  return all;
}

}  // namespace cli
