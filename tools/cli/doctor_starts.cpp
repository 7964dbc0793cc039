#include <exception>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/thread.hpp>

#include "findings.hpp"
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

// Each is really started, and its value fetched. In this order: the fork server is made while no other thread runs.
struct start_method {
  const char* name;
  int (*value_of_42)();
  need how_much;
  const char* if_it_works;
};

constexpr start_method methods[] = {
    {"process, fork_server", by_fork_server, need::required, "One was started, and its value came back."},
    {"thread", by_thread, need::required, "One was started, and its value came back."},
};

finding tried(const start_method& method) {
  const bool needed = method.how_much == need::required;
  try {
    if (method.value_of_42() == 42) return {method.name, answer::yes, {}, method.if_it_works, needed};
    return {method.name, answer::no, {}, "One was started, and a wrong value came back.", needed};
  } catch (const std::exception& e) {
    std::string said = printable(e.what());
    if (!said.ends_with('.')) said += '.';
    return {method.name, answer::no, {}, "Starting one failed: " + said, needed};
  }
}

}  // namespace

section start_methods() {
  section all{"Start methods", {}};
  for (const start_method& method : methods) all.rows.push_back(tried(method));
  return all;
}

}  // namespace cli
