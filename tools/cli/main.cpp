// The program `tandem`.
#include <exception>
#include <functional>
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "creation.hpp"
#include "demo.hpp"
#include "doctor.hpp"
#include "fresh_image.hpp"
#include "memory_table.hpp"
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
  cli::creation_options creation = {};
  cli::memory_options memory = {};
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

void add_creation(CLI::App& compare, request& asked) {
  CLI::App* creation = compare.add_subcommand("creation", "What it takes to start and to join a thread or a process.");
  creation->add_option("--rounds", asked.creation.rounds, "in each of them, everything has its turn")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  creation->add_option("--runs", asked.creation.runs, "starts in each turn, fewer where they take long")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  creation->add_flag("--large", asked.creation.large, "also in a host that holds 4 GiB");
  creation->add_flag("--json", asked.creation.json, "the same as JSON");
  creation->callback([&asked] {
    asked.what = [&asked] {
      cli::compare_creation(asked.creation);
      return succeeded;
    };
  });
}

void add_memory(CLI::App& compare, request& asked) {
  CLI::App* memory = compare.add_subcommand("memory", "What a thread or a process holds of memory.");
  memory->add_option("--workers", asked.memory.workers, "so many threads, and so many processes")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  memory->add_option("--mib", asked.memory.mib, "data of the program, which all of them read")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  memory->add_flag("--json", asked.memory.json, "the same as JSON");
  memory->callback([&asked] {
    asked.what = [&asked] {
      cli::compare_memory(asked.memory);
      return succeeded;
    };
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
  CLI::App* compare = app.add_subcommand("compare", "Measures threads beside processes, on this machine.");
  add_creation(*compare, asked);
  add_memory(*compare, asked);
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
  return misuse(compare->parsed() ? "say what to compare, creation or memory" : "no subcommand was given");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    cli::serve_if_fresh_image();
    cli::keep_standard_streams();
    return run(argc, argv);
  } catch (const std::exception& error) {
    cli::complain(error.what());
  }
  return failed;
}
