// What goes wrong in a worker arrives as a value: an exception as itself, a crash as a report.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

#include <tandem/fmt.hpp>
#include <tandem/tandem.hpp>

// snippet: functions
int parse(const std::string& text) {
  if (text.empty()) throw std::invalid_argument("an empty line");
  return std::stoi(text);
}

int crash() { std::abort(); }
// snippet end

template <template <class> class Unit>
void try_to_parse(const char* kind, const std::string& text) {
  // snippet: exception
  Unit<int> unit(parse, text);
  try {
    fmt::print("{}: {}\n", kind, unit.get());
  } catch (const std::invalid_argument& e) {  // thrown there, caught here, in a process too
    fmt::print("{}: std::invalid_argument: {}\n", kind, e.what());
  }
  // snippet end
}

int main() {
  tandem::init();
  for (const char* text : {"42", ""}) {
    try_to_parse<tandem::thread>("thread", text);
    try_to_parse<tandem::process>("process", text);
  }

  // snippet: crash
  // In a thread this would be the end of the program.
  tandem::process doomed({.name = "doomed"}, crash);
  try {
    doomed.get();
  } catch (const tandem::worker_crashed& e) {
    fmt::print("{}: {}\n", e.report().worker, e.report().status);
  }
  fmt::print("the program goes on\n");
  // snippet end
}
