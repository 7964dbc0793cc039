// The program `tandem`.
#include <exception>
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "demo.hpp"
#include "output.hpp"

namespace {

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

int run(int argc, char** argv) {
  CLI::App app("Threads and processes behind one typed interface.", "tandem");
  app.set_version_flag("--version", "tandem " TANDEM_VERSION);
  bool explain = false;
  CLI::App* demo = app.add_subcommand("demo", "Runs two processes and two threads, each of which says its number.");
  demo->add_flag("--explain", explain, "then say who ran where, what they shared, and what a crash costs");
  app.allow_extras();  // named below; set here, since subcommands begin with what the program has

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    cli::print(demo->parsed() ? demo->help("tandem") : app.help());
    return 0;
  } catch (const CLI::CallForVersion& version) {
    cli::print(std::string(version.what()) + "\n");
    return 0;
  } catch (const CLI::ParseError& error) {
    return misuse(as_clause(error.what()));
  }
  if (const auto unknown = app.remaining(); !unknown.empty()) {
    const char* kind = unknown.front().starts_with("-") ? "option" : "subcommand";
    return misuse(fmt::format("there is no {} '{}'", kind, unknown.front()));
  }
  if (!demo->parsed()) return misuse("no subcommand was given");
  explain ? cli::demo_explained() : cli::demo();
  return 0;
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
