// The program `tandem`.
#include <exception>
#include <functional>
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "demo.hpp"
#include "doctor.hpp"
#include "output.hpp"

namespace {

constexpr int succeeded = 0;
constexpr int failed = 1;
constexpr int misused = 2;

int misuse(const std::string& what) {
  cli::complain(what + "; `tandem --help` shows what there is");
  return misused;
}

// The text of an error of the command line, as the middle of a sentence.
std::string as_clause(std::string text) {
  while (!text.empty() && (text.back() == '.' || text.back() == '\n')) text.pop_back();
  return text;
}

// What the command line asks for.
struct request {
  std::function<int()> what = {};  // empty: nothing was asked for
  bool json = false;
  bool explain = false;
};

void add_demo(CLI::App& app, request& asked) {
  CLI::App* demo = app.add_subcommand("demo", "Runs two processes and two threads, each of which says its number.");
  demo->add_flag("--explain", asked.explain, "then say who ran where, what they shared, and what a crash costs");
  demo->callback([&asked] {
    asked.what = [&asked] {
      asked.explain ? cli::demo_explained() : cli::demo();
      return succeeded;
    };
  });
}

void add_doctor(CLI::App& app, request& asked) {
  CLI::App* doctor = app.add_subcommand("doctor", "Says what this machine allows, and whether tandem works here.");
  doctor->add_flag("--json", asked.json, "the same as JSON");
  doctor->callback([&asked] {
    asked.what = [&asked] { return (asked.json ? cli::doctor_as_json() : cli::doctor()) ? succeeded : failed; };
  });
}

// What was asked for, the innermost subcommand, has the help that is meant.
std::string help_of(const CLI::App& app) {
  const CLI::App* inner = &app;
  std::string before;
  while (!inner->get_subcommands().empty()) {
    before += (before.empty() ? "" : " ") + inner->get_name();
    inner = inner->get_subcommands().front();
  }
  return inner->help(before);
}

int run(int argc, char** argv) {
  CLI::App app("Threads and processes behind one typed interface.", "tandem");
  app.set_version_flag("--version", "tandem " TANDEM_VERSION);
  request asked;
  add_demo(app, asked);
  add_doctor(app, asked);
  app.allow_extras();  // named below; set here, since subcommands begin with what the program has

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    cli::print(help_of(app));
    return succeeded;
  } catch (const CLI::CallForVersion& version) {
    cli::print(std::string(version.what()) + "\n");
    return succeeded;
  } catch (const CLI::ParseError& error) {
    return misuse(as_clause(error.what()));
  }
  if (const auto unknown = app.remaining(); !unknown.empty()) {
    const char* kind = unknown.front().starts_with("-") ? "option" : "subcommand";
    return misuse(fmt::format("there is no {} '{}'", kind, unknown.front()));
  }
  if (asked.what) return asked.what();
  return misuse("no subcommand was given");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    cli::keep_standard_streams();
    return run(argc, argv);
  } catch (const std::exception& error) {
    cli::complain(error.what());
  }
  return failed;
}
