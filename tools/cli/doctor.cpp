#include "doctor.hpp"

#include <fmt/format.h>

#include "columns.hpp"
#include "findings.hpp"
#include "json.hpp"
#include "kernel/machine.hpp"
#include "output.hpp"

namespace cli {

namespace {

std::vector<section> examine() {
  return {kernel_calls(), fences(), control_groups(), memory(), limits(), start_methods()};
}

std::vector<std::string> missing_in(const std::vector<section>& sections) {
  std::vector<std::string> names;
  for (const section& s : sections) {
    for (const finding& f : s.rows) {
      if (f.needed && f.is == answer::no) names.push_back(f.name);
    }
  }
  return names;
}

const char* word(answer is) {
  switch (is) {
    case answer::yes: return "yes";
    case answer::no: return "no";
    case answer::limited: return "limited";
    case answer::value: return "value";
  }
  return "";
}

std::string answer_of(const finding& f) {
  if (f.is == answer::value) return f.value;
  return f.value.empty() ? word(f.is) : fmt::format("{} ({})", word(f.is), f.value);
}

std::string as_json(const section& s, const finding& f) {
  return json::object({{"section", json::text(s.title)},
                       {"name", json::text(f.name)},
                       {"answer", json::text(word(f.is))},
                       {"value", f.value.empty() ? "null" : json::text(f.value)},
                       {"needed", json::flag(f.needed)},
                       {"meaning", json::text(f.meaning)}});
}

}  // namespace

bool doctor() {
  const std::vector<section> sections = examine();
  std::string text = fmt::format("tandem {}, as user {}\n", TANDEM_VERSION, kernel::user());
  for (const section& s : sections) {
    text += "\n" + s.title + "\n";
    for (const finding& f : s.rows) text += in_columns({f.name, answer_of(f), f.meaning}, {22, 20, 52});
  }
  const std::vector<std::string> missing = missing_in(sections);
  text += missing.empty() ? "\ntandem works here.\n"
                          : fmt::format("\ntandem does not work here, without:\n  {}\n", fmt::join(missing, "\n  "));
  print(text);
  return missing.empty();
}

bool doctor_as_json() {
  const std::vector<section> sections = examine();
  std::vector<std::string> rows;
  for (const section& s : sections) {
    for (const finding& f : s.rows) rows.push_back(as_json(s, f));
  }
  std::vector<std::string> missing;
  for (const std::string& name : missing_in(sections)) missing.push_back(json::text(name));
  print(json::object({{"version", json::text(TANDEM_VERSION)},
                      {"user", std::to_string(kernel::user())},
                      {"works", json::flag(missing.empty())},
                      {"missing", json::array(missing)},
                      {"rows", json::lines(rows)}}) +
        "\n");
  return missing.empty();
}

}  // namespace cli
