// Every example, run as a user runs it: what it prints is what its text promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "support/run_program.hpp"
#include "support/watchdog.hpp"

namespace {

namespace fs = std::filesystem;
using tandem::test::ran;
using tandem::test::run;

class examples : public testing::Test {
 private:
  tandem::test::watchdog watchdog_;
};

TEST_F(examples, first) {
  const ran done = run({EXAMPLE_FIRST});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  const std::string last = "All processes and threads have finished\n";
  ASSERT_TRUE(done.out.ends_with(last)) << done.out;
  std::multiset<std::string> lines;
  std::istringstream before(done.out.substr(0, done.out.size() - last.size()));
  for (std::string line; std::getline(before, line);) lines.insert(line);
  EXPECT_EQ(lines, (std::multiset<std::string>{"Worker 1 is running", "Worker 1 is running", "Worker 2 is running",
                                               "Worker 2 is running"}));
}

TEST_F(examples, exceptions) {
  const ran done = run({EXAMPLE_EXCEPTIONS});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_THAT(done.out, testing::MatchesRegex("thread: 42\nprocess: 42\n"
                                              "thread: std::invalid_argument: an empty line\n"
                                              "process: std::invalid_argument: an empty line\n"
                                              "doomed: [^\n]*SIGABRT[^\n]*\n"
                                              "the program goes on\n"));
}

TEST_F(examples, shared_memory) {
  const ran done = run({EXAMPLE_SHARED_MEMORY});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(done.out, "4 parts, sum 333332833333500000, last 999998000001\nread 144\n");
}

TEST_F(examples, queue) {
  const ran done = run({EXAMPLE_QUEUE});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(done.out, "sum 338350\nframes 600000\n");
}

TEST_F(examples, pools) {
  const ran done = run({EXAMPLE_POOLS});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "49 64\n1 4 9 16 25 36 49 64 81 100 \n385\n25\nposted\n81 81 81\n");
}

TEST_F(examples, patterns) {
  const ran done = run({EXAMPLE_PATTERNS, EXAMPLE_PATTERNS_FILES});
  EXPECT_EQ(done.code, 0) << done.err;
  const auto lines = [&](const std::string& what) {
    std::ptrdiff_t count = 0;
    std::istringstream all(done.out);
    for (std::string line; std::getline(all, line);) count += std::regex_search(line, std::regex(what)) ? 1 : 0;
    return count;
  };
  EXPECT_EQ(lines(": found$"), 4) << done.out;
  EXPECT_EQ(lines(": not found$"), 4) << done.out;
  EXPECT_EQ(lines("(Unmatched|Invalid|Trailing)"), 9) << done.out;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  EXPECT_EQ(lines("(killed by signal|exited with)"), 2) << done.out;  // the sanitizer ends it
#else
  EXPECT_EQ(lines("SIGSEGV"), 2) << done.out;
#endif
  EXPECT_EQ(lines("does not end"), 2) << done.out;
}

TEST_F(examples, checksums) {
#if defined(EXAMPLE_CHECKSUMS)
  const std::string expected =
      run({"sh", "-c", "find \"$0\" -type f | LC_ALL=C sort | xargs sha256sum", EXAMPLE_PATTERNS_FILES}).out;
  for (const char* units : {"threads", "processes", "here"}) {
    const ran done = run({EXAMPLE_CHECKSUMS, units, EXAMPLE_PATTERNS_FILES});
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(done.out, expected) << units;
  }
  EXPECT_EQ(run({EXAMPLE_CHECKSUMS, "fibres", "/"}).code, 1);
#else
  GTEST_SKIP() << "needs OpenSSL";
#endif
}

TEST_F(examples, time_zones) {
  const ran done = run({EXAMPLE_TIME_ZONES});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out,
            "CET-1CEST,M3.5.0,M10.5.0/3: 5040 hours\nEST5EDT,M3.2.0,M11.1.0: 5711 hours\n"
            "AEST-10AEDT,M10.1.0,M4.1.0/3: 4415 hours\nJST-9: 0 hours\n"
            "NZST-12NZDT,M9.5.0,M4.1.0/3: 4583 hours\nUTC0: 0 hours\n");
}

TEST_F(examples, asio) {
#if defined(EXAMPLE_ASIO)
  const auto done = run({EXAMPLE_ASIO});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "1 is odd\n2 is even\n3 is odd\n");
#else
  GTEST_SKIP() << "ThreadSanitizer does not follow the fences of Asio";
#endif
}

TEST_F(examples, stop) {
  const ran done = run({EXAMPLE_STOP});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_THAT(done.out, testing::MatchesRegex("thread: stopped when asked\nprocess: stopped when asked\n"
                                              "deaf process: [^\n]*SIGKILL[^\n]*\n"));
}

// ---- word_count
// ------------------------------------------------------------------------------------------------------

/// A directory that is gone with it.
class folder {
 public:
  folder() {
    std::string name = testing::TempDir() + "words-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { fs::remove_all(path_); }

  const fs::path& path() const { return path_; }
  void write(const fs::path& name, const std::string& bytes) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }

 private:
  fs::path path_;
};

/// What cat and wc say, for the files in the order of find.
long words_by_wc(const fs::path& directory) {
  const ran done = run(
      {"/bin/sh", "-c", "find \"$0\" -type f -print0 | xargs -0 cat 2>/dev/null | LC_ALL=C wc -w", directory.string()});
  EXPECT_EQ(done.code, 0) << done.err;
  return std::stol(done.out);
}

struct totals {
  long files = -1;
  long threads = -1;
  long processes = -1;
  long thread_pool = -1;
  long process_pool = -1;
  ran program = {};
};

totals words_by_example(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), EXAMPLE_WORD_COUNT);
  totals found;
  found.program = run(arguments);
  static const std::regex form(
      ".*: ([0-9]+) files, [0-9.]+ MB\n"
      "threads: +([0-9]+) words in [0-9.]+ s, [0-9]+ at a time\n"
      "processes: +([0-9]+) words in [0-9.]+ s, [0-9]+ at a time\n"
      "thread_pool: +([0-9]+) words in [0-9.]+ s, [0-9]+ at a time\n"
      "process_pool: +([0-9]+) words in [0-9.]+ s, [0-9]+ at a time\n");
  std::smatch match;
  if (std::regex_match(found.program.out, match, form)) {
    found.files = std::stol(match[1]);
    found.threads = std::stol(match[2]);
    found.processes = std::stol(match[3]);
    found.thread_pool = std::stol(match[4]);
    found.process_pool = std::stol(match[5]);
  } else {
    ADD_FAILURE() << found.program.out << found.program.err;
  }
  return found;
}

void expect_as_wc(const fs::path& directory, const std::string& workers) {
  const totals found = words_by_example({directory.string(), workers});
  const long expected = words_by_wc(directory);
  EXPECT_EQ(found.program.code, 0);
  EXPECT_EQ(found.program.err, "");
  EXPECT_EQ(found.threads, expected);
  EXPECT_EQ(found.processes, expected);
  EXPECT_EQ(found.thread_pool, expected);
  EXPECT_EQ(found.process_pool, expected);
}

std::string random_bytes(unsigned seed, std::size_t size, const std::string& alphabet) {
  std::mt19937 random(seed);
  std::string bytes(size, ' ');
  for (char& byte : bytes) byte = alphabet.empty() ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
  return bytes;
}

TEST_F(examples, word_count_agrees_with_wc_on_any_bytes) {
  const folder tree;
  // Some end inside a word, so that the order of the files and the joints between slices count.
  const std::vector<std::string> alphabets = {"",      "a ", std::string("a \n\t\v\f\r\0\x01\x7f\x80\xa0\xff", 12),
                                              "\x01 ", "ab", " "};
  for (unsigned i = 0; i < 120; ++i) {
    const std::size_t size = i % 7 == 0 ? 0 : i % 5 == 0 ? 300'000 : i * 3;
    tree.write("d" + std::to_string(i % 9) + "/" + std::to_string(i),
               random_bytes(i, size, alphabets[i % alphabets.size()]));
  }
  tree.write("a name\nwith \"white\" space", "two words");
  tree.write("empty", "");
  fs::create_symlink(tree.path() / "d1", tree.path() / "d2/link to a folder");
  fs::create_symlink(tree.path(), tree.path() / "d2/loop");
  fs::create_symlink(tree.path() / "d1/1", tree.path() / "d2/link to a file");
  fs::create_symlink("nowhere", tree.path() / "d2/link to nothing");
  for (const char* workers : {"1", "2", "5"}) {
    SCOPED_TRACE(workers);
    expect_as_wc(tree.path(), workers);
  }
}

TEST_F(examples, word_count_of_joints) {
  // One word runs through three files; a file of unprintable bytes neither makes nor ends a word.
  const std::vector<std::vector<std::string>> trees = {
      {"a"}, {"a", "b", "c"},   {"a", "\x01", "b"}, {"\x01", "\x02"}, {" a", "b "}, {" ", "a", " "}, {},
      {""},  {"a b", "", "c d"}};
  for (const auto& files : trees) {
    SCOPED_TRACE(testing::PrintToString(files));
    const folder tree;
    for (std::size_t i = 0; i < files.size(); ++i) tree.write(std::to_string(i), files[i]);
    expect_as_wc(tree.path(), "3");
  }
}

TEST_F(examples, word_count_of_the_standard_headers) {
  const fs::path headers = "/usr/include/c++";
  if (!fs::exists(headers)) GTEST_SKIP() << "there is no " << headers;
  expect_as_wc(headers, "2");
}

TEST_F(examples, word_count_says_which_files_it_cannot_read) {
  if (::geteuid() == 0) GTEST_SKIP() << "root can read every file";
  const folder tree;
  tree.write("one", "one word");
  tree.write("secret", "not counted");
  tree.write("two", "or three\n");
  fs::permissions(tree.path() / "secret", fs::perms::none);
  const totals found = words_by_example({tree.path().string()});
  const long expected = words_by_wc(tree.path());
  EXPECT_EQ(found.threads, expected);
  EXPECT_EQ(found.processes, expected);
  EXPECT_EQ(found.thread_pool, expected);
  EXPECT_EQ(found.process_pool, expected);
  EXPECT_EQ(found.program.code, 1);
  EXPECT_EQ(found.program.err, "word_count: cannot read " + (tree.path() / "secret").string() + "\n");
}

TEST_F(examples, word_count_misused) {
  const std::vector<std::vector<std::string>> cases = {{"/nowhere/at all"}, {"/", "0"}, {"/", "many"},
                                                       {"/", "-1"},         {"/", ""},  {"/", "99999999999999999999"},
                                                       {"/", "2", "3"}};
  for (std::vector<std::string> arguments : cases) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    arguments.insert(arguments.begin(), EXAMPLE_WORD_COUNT);
    const ran done = run(arguments);
    EXPECT_EQ(done.code, 1);
    EXPECT_EQ(done.out, "");
    EXPECT_THAT(done.err, testing::MatchesRegex("word_count: [^\n]+\n"));
  }
}

}  // namespace
