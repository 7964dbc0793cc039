// `tandem compare`: the shape of what it measures, and what it says where it cannot. No figure is judged here.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "program.hpp"

namespace {

using namespace tandem::test;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class compare : public cli {};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool address_space_can_be_limited = false;  // shadow memory takes terabytes of it
#else
constexpr bool address_space_can_be_limited = true;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr bool reading_writes = true;  // shadow memory, as much as was read; a fork of 1 GiB of it takes a second
#else
constexpr bool reading_writes = false;
#endif

constexpr const char* too_slow = "hosts that hold much take minutes here";
const std::string few = "compare creation --rounds 2 --runs 3";
/// Too little for the large hosts, so that what is about something else takes no time for them.
ran in_little_memory(const std::string& arguments) {
  return run({"/bin/sh", "-c", std::string("ulimit -v 900000; exec '") + TANDEM_PROGRAM + "' " + arguments});
}

const std::vector<std::string> contestants = {"std::thread",
                                              "tandem::thread",
                                              "fork",
                                              "posix_spawn",
                                              "tandem::process, fork_server",
                                              "tandem::process, fork_options",
                                              "tandem::process, spawn"};

TEST_F(compare, creation_shows_a_row_for_each_contestant_and_host) {
  if (reading_writes) GTEST_SKIP() << too_slow;
  const ran done = in_shell(few);
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");  // progress is for terminals
  expect_lines_of_at_most_100(done.out);
  EXPECT_THAT(done.out, HasSubstr("host that holds nothing"));
  EXPECT_THAT(done.out, HasSubstr("host that holds 1 GiB"));
  EXPECT_THAT(done.out, Not(HasSubstr("4 GiB")));
  for (const std::string& name : contestants) {
    const std::string row = "\n  " + name + " +[0-9.]+ +[0-9.]+ +[0-9.]+";
    EXPECT_THAT(done.out, ContainsRegex(row));
  }
  EXPECT_THAT(done.out, ContainsRegex("tandem::process, fork_server .* [0-9.]+ x fork\n"));
}

TEST_F(compare, creation_as_json) {
  if (reading_writes) GTEST_SKIP() << too_slow;
  const ran done = in_shell(few + " --json");
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(in_json(done.out, "d['rounds'], d['runs'], sorted({r['host_mib'] for r in d['rows']})"), "2 3 [0, 1024]");
  EXPECT_EQ(in_json(done.out, "len(d['rows'])"), std::to_string(2 * contestants.size()));
  EXPECT_EQ(in_json(done.out, "[r for r in d['rows'] if not 0 < r['least_us'] <= r['median_us'] <= r['most_us']]"),
            "[]");
  EXPECT_EQ(in_json(done.out, "[r for r in d['rows'] if r['raw'] and not r['ratio'] > 0]"), "[]");
  EXPECT_EQ(in_json(done.out,
                    "{(r['name'], r['raw']) for r in d['rows'] if r['name'].startswith('tandem::')}"
                    " == {('tandem::thread', 'std::thread'), ('tandem::process, fork_server', 'fork'),"
                    " ('tandem::process, fork_options', 'fork'), ('tandem::process, spawn', 'posix_spawn')}"),
            "True");
}

TEST_F(compare, creation_leaves_out_a_host_that_memory_does_not_suffice_for) {
  if (!address_space_can_be_limited) GTEST_SKIP();
  const ran done = in_little_memory(few);
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_THAT(done.out, HasSubstr("host that holds nothing"));
  EXPECT_THAT(done.out, ContainsRegex("1 GiB.*left out"));
  const ran json = in_little_memory(few + " --json");
  EXPECT_EQ(in_json(json.out, "{r['host_mib'] for r in d['rows']}, d['left_out_mib']"), "{0} [1024]");
}

TEST_F(compare, creation_refuses_what_was_asked_for_by_name_and_memory_does_not_suffice_for) {
  if (!address_space_can_be_limited) GTEST_SKIP();
  const ran done = in_little_memory(few + " --large");
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.out, "");
  expect_one_sentence(done.err);
  EXPECT_THAT(done.err, HasSubstr("4 GiB"));
}

TEST_F(compare, creation_tells_a_terminal_how_far_it_is) {
  if (reading_writes) GTEST_SKIP() << too_slow;
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 && errno == ENOENT) GTEST_SKIP() << "no pseudo-terminals are mounted here";
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(::grantpt(terminal), 0);
  ASSERT_EQ(::unlockpt(terminal), 0);
  const std::string name = ::ptsname(terminal);
  // Its other end stays open, so that what was written can be read after the program has ended.
  const int other = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  const std::string redirected = few + " --json 2>" + name;
  const ran done = address_space_can_be_limited ? in_little_memory(redirected) : in_shell(redirected);
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(in_json(done.out, "d['rounds']"), "2");
  std::array<char, 4096> buffer;
  const ssize_t size = ::read(terminal, buffer.data(), buffer.size());
  ASSERT_GT(size, 0);
  const std::string said(buffer.data(), static_cast<std::size_t>(size));
  EXPECT_THAT(said, HasSubstr("round 1 of 2"));
  EXPECT_THAT(said, testing::EndsWith("\r\x1b[K"));  // nothing of it stays
  ::close(other);
  ::close(terminal);
}

TEST_F(compare, memory_shows_each_unit_and_the_totals) {
  const ran done = tandem_with({"compare", "memory", "--workers", "2", "--mib", "16"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  expect_lines_of_at_most_100(done.out);
  for (const char* row :
       {"thread 1", "thread 2", "2 threads", "process 1", "process 2", "2 processes", "this program"}) {
    EXPECT_THAT(done.out, ContainsRegex("\n  " + std::string(row) + " +-?[0-9.]+ +-?[0-9.]+ +-?[0-9.]+\n"));
  }
}

TEST_F(compare, memory_as_json) {
  const ran done = tandem_with({"compare", "memory", "--workers", "3", "--mib", "64", "--json"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(in_json(done.out, "d['workers'], d['mib']"), "3 64");
  EXPECT_EQ(in_json(done.out, "[r['unit'] for r in d['rows']].count('process')"), "3");
  EXPECT_EQ(in_json(done.out, "[r['unit'] for r in d['rows']].count('thread')"), "3");
  // Each process has read all of the data, and none has a copy of it.
  if (!reading_writes) {
    EXPECT_EQ(in_json(done.out,
                      "[r for r in d['rows'] if r['unit'] == 'process' and not"
                      " (r['rss_kib'] > 64 * 1024 > r['pss_kib'] > r['private_kib'] > 0)]"),
              "[]");
  }
  EXPECT_EQ(in_json(done.out,
                    "d['totals'][1]['unit'], d['totals'][1]['private_kib'] =="
                    " sum(r['private_kib'] for r in d['rows'] if r['unit'] == 'process')"),
            "process True");
}

TEST_F(compare, says_in_one_sentence_that_processes_cannot_be_started) {
  for (const char* what : {"creation", "memory"}) {
    SCOPED_TRACE(what);
    const ran done = tandem_without("pidfd_open", {"compare", what});
    EXPECT_EQ(done.code, 1);
    EXPECT_EQ(done.out, "");
    expect_one_sentence(done.err);
  }
}

TEST_F(compare, as_nobody) {
  if (!is_root()) GTEST_SKIP() << "only root can become nobody; the other tests ran without privileges already";
  if (!reading_writes) {
    const ran creation = tandem_as_nobody({"compare", "creation", "--rounds", "1", "--runs", "2", "--json"});
    EXPECT_EQ(creation.code, 0) << creation.err;
    EXPECT_EQ(in_json(creation.out, "len(d['rows']) > 0"), "True");
  }
  const ran memory = tandem_as_nobody({"compare", "memory", "--workers", "2", "--mib", "4", "--json"});
  EXPECT_EQ(memory.code, 0) << memory.err;
  EXPECT_EQ(in_json(memory.out, "len(d['totals'])"), "2");
}

}  // namespace
