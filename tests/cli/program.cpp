#include "program.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace tandem::test {

namespace fs = std::filesystem;

ran tandem_with(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), TANDEM_PROGRAM);
  return run(arguments);
}

ran in_shell(const std::string& arguments) {
  return run({"/bin/sh", "-c", std::string("exec '") + TANDEM_PROGRAM + "' " + arguments});
}

ran tandem_without(const std::string& calls, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {TANDEM_WITHOUT_CALLS, calls, TANDEM_PROGRAM});
  return run(arguments);
}

ran tandem_as_nobody(std::vector<std::string> arguments, const std::string& before) {
  // The checkout may be where only root can look.
  std::string folder = fs::temp_directory_path() / "tandem-cli-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  fs::permissions(folder, fs::perms(0755));
  const std::string copy = folder + "/tandem";
  fs::copy_file(TANDEM_PROGRAM, copy);
  fs::permissions(copy, fs::perms(0755));
  arguments.insert(arguments.begin(),
                   {"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all",
                    "--bounding-set=-all", "bash", "-c", before + "; exec \"$0\" \"$@\"", copy});
  const ran done = run(arguments);
  fs::remove_all(folder);
  return done;
}

bool is_root() { return ::geteuid() == 0; }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) {
      lines.push_back(text.substr(at) + " (no end of line)");
      break;
    }
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

void expect_one_sentence(const std::string& text) {
  EXPECT_THAT(lines_of(text), testing::SizeIs(1)) << text;
  EXPECT_THAT(text, testing::StartsWith("tandem: "));
  EXPECT_THAT(text, testing::EndsWith("\n"));
}

void expect_lines_of_at_most_100(const std::string& text) {
  for (const std::string& line : lines_of(text)) {
    EXPECT_LE(line.size(), 100u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

std::string in_json(const std::string& text, const std::string& expression) {
  const std::string script =
      "import json, sys\n"
      "def refuse(name): raise ValueError(name)\n"
      "d = json.loads(sys.argv[1], parse_constant=refuse)\n"
      "print(" +
      expression + ")\n";
  const ran done = run({TANDEM_PYTHON, "-c", script, text});
  EXPECT_EQ(done.code, 0) << done.err << text;
  return done.out.empty() ? "" : done.out.substr(0, done.out.size() - 1);
}

}  // namespace tandem::test
