// The C library's regular expressions, given patterns that nobody checked: some it refuses, some kill the process with a
// stack that has no end, on some it would go on for years. A pool of processes gets through all of them; each one that goes
// wrong costs itself.
//
//   patterns DIRECTORY       each file there: a pattern in the first line, and after it the text to look for it in
//
// The files in examples/patterns were made by changing good patterns at random, and were kept if they did something new.
#include <regex.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tandem/init.hpp>
#include <tandem/process_pool.hpp>

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// snippet: match
/// True if the text of the file holds its pattern.
bool match(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string pattern;
  std::getline(file, pattern);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file) throw std::runtime_error("it cannot be read");
  regex_t compiled;
  if (const int error = ::regcomp(&compiled, pattern.c_str(), REG_EXTENDED)) {
    char why[200];
    ::regerror(error, &compiled, why, sizeof why);
    throw std::invalid_argument(why);
  }
  const bool found = ::regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
  ::regfree(&compiled);
  return found;
}

void match_all(const std::vector<fs::path>& files) {
  tandem::process_pool pool({.workers = 2, .stop_grace = 50ms, .kill_grace = 50ms});
  std::vector<tandem::future<bool>> results;
  for (const fs::path& file : files)
    results.push_back(pool.submit({.name = file.filename(), .deadline = 2s}, match, file));
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name = files[i].filename();
    try {
      fmt::print("{}: {}\n", name, results[i].get() ? "found" : "not found");
    } catch (const tandem::worker_died& e) {  // it took its worker with it, and nobody else
      fmt::print("{}: {}\n", e.report().task, e.report().status.to_string());
    } catch (const tandem::timed_out&) {
      fmt::print("{}: does not end\n", name);
    } catch (const std::exception& e) {
      fmt::print("{}: {}\n", name, e.what());
    }
  }
}
// snippet end

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  if (argc != 2 || !fs::is_directory(argv[1])) {
    fmt::print(stderr, "usage: patterns DIRECTORY\n");
    return 2;
  }
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(argv[1])) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  match_all(files);
}
