// The program `tandem`, run as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "program.hpp"

namespace {

using namespace tandem::test;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::UnorderedElementsAre;

void expect_the_demo(std::vector<std::string> lines) {
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines.back(), "All processes and threads have finished");
  lines.pop_back();
  EXPECT_THAT(lines, UnorderedElementsAre("Worker 1 is running", "Worker 2 is running", "Worker 1 is running",
                                          "Worker 2 is running"));
}

TEST_F(cli, demo) {
  const ran done = tandem_with({"demo"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  expect_the_demo(lines_of(done.out));
}

TEST_F(cli, demo_explained) {
  const ran done = tandem_with({"demo", "--explain"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  std::vector<std::string> lines = lines_of(done.out);
  ASSERT_EQ(lines.size(), 8u) << done.out;
  expect_the_demo({lines.begin(), lines.begin() + 5});
  const std::string ids = "The processes were [0-9]+ and [0-9]+; the threads, [0-9]+ and [0-9]+, ";
  EXPECT_THAT(lines[5], MatchesRegex(ids + "were inside this program, [0-9]+\\."));
  EXPECT_THAT(lines[6], HasSubstr("which is now 2:"));
  EXPECT_THAT(lines[7], HasSubstr("SIGABRT"));
  EXPECT_THAT(lines[7], EndsWith("this program goes on."));
}

TEST_F(cli, demo_with_input_or_errors_closed) {
  for (const char* redirection : {"<&-", "2>&-", "<&- 2>&-"}) {
    SCOPED_TRACE(redirection);
    const ran done = in_shell(std::string("demo ") + redirection);
    EXPECT_EQ(done.code, 0);
    expect_the_demo(lines_of(done.out));
  }
}

TEST_F(cli, lost_output_is_an_error) {
  for (const std::string command :
       {"demo", "demo --explain", "--help", "--version", "demo --help", "doctor", "doctor --json", "compare --help"}) {
    for (const auto& [redirection, why] :
         {std::pair(" >&-", "Bad file descriptor"), std::pair(" >/dev/full", "No space left on device"),
          std::pair(" <&- >&-", "Bad file descriptor")}) {
      SCOPED_TRACE(command + redirection);
      const ran done = in_shell(command + redirection);
      EXPECT_EQ(done.code, 1);
      EXPECT_EQ(done.out, "");
      expect_one_sentence(done.err);
      EXPECT_EQ(done.err, std::string("tandem: cannot write to standard output: ") + why + "\n");
    }
  }
  for (const std::string command : {"demo", "--help"}) {
    SCOPED_TRACE(command);
    EXPECT_EQ(in_shell(command + " >&- 2>&-").code, 1);
  }
}

TEST_F(cli, version) {
  const ran done = tandem_with({"--version"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.out, "tandem " TANDEM_VERSION "\n");
  EXPECT_EQ(done.err, "");
}

TEST_F(cli, help) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--help"}, {"-h"}}) {
    const ran done = tandem_with(arguments);
    EXPECT_EQ(done.code, 0);
    EXPECT_EQ(done.err, "");
    EXPECT_THAT(done.out, HasSubstr("Usage: tandem"));
    for (const char* name : {"demo", "doctor", "compare"}) EXPECT_THAT(done.out, HasSubstr(name));
    EXPECT_THAT(done.out, HasSubstr("--version"));
  }
  const std::vector<std::pair<std::vector<std::string>, std::string>> subcommands = {
      {{"demo"}, "--explain"},
      {{"doctor"}, "--json"},
      {{"compare"}, "creation"},
      {{"compare", "creation"}, "--large"},
      {{"compare", "memory"}, "--workers"},
  };
  for (const auto& [words, option] : subcommands) {
    SCOPED_TRACE(testing::PrintToString(words));
    std::vector<std::string> arguments = words;
    arguments.emplace_back("--help");
    const ran done = tandem_with(arguments);
    EXPECT_EQ(done.code, 0);
    std::string usage = "Usage: tandem";
    for (const std::string& word : words) usage += " " + word;
    EXPECT_THAT(done.out, HasSubstr(usage));
    EXPECT_THAT(done.out, HasSubstr(option));
  }
}

TEST_F(cli, misuse_is_said_in_one_sentence) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "no subcommand was given"},
      {{"nothing"}, "there is no subcommand 'nothing'"},
      {{"demon"}, "there is no subcommand 'demon'"},
      {{"nothing", "demo"}, "there is no subcommand 'nothing'"},
      {{"--nothing"}, "there is no option '--nothing'"},
      {{"demo", "--nothing"}, "--nothing"},
      {{"demo", "nothing"}, "nothing"},
      {{""}, "there is no subcommand ''"},
      {{"doctor", "--nothing"}, "--nothing"},
      {{"doctor", "nothing"}, "nothing"},
      {{"compare"}, "creation or memory"},
      {{"compare", "nothing"}, "nothing"},
      {{"compare", "creation", "--nothing"}, "--nothing"},
      {{"compare", "creation", "--rounds", "0"}, "--rounds"},
      {{"compare", "creation", "--runs", "some"}, "--runs"},
      {{"compare", "creation", "--runs"}, "--runs"},
      {{"compare", "memory", "--workers", "0"}, "--workers"},
      {{"compare", "memory", "--workers", "100000"}, "--workers"},
      {{"compare", "memory", "--mib", "-1"}, "--mib"},
  };
  for (const auto& [arguments, expected] : cases) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const ran done = tandem_with(arguments);
    EXPECT_EQ(done.code, 2);
    EXPECT_EQ(done.out, "");
    expect_one_sentence(done.err);
    EXPECT_THAT(done.err, HasSubstr(expected));
  }
}

}  // namespace
