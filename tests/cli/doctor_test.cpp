// `tandem doctor`: what it says of a machine, and of one that lacks something.
#include <unistd.h>

#include <filesystem>

#include "program.hpp"
#include "support/leaks.hpp"

namespace {

using namespace tandem::test;
using testing::ContainsRegex;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class doctor : public cli {};

const std::vector<std::string> names = {"kernel",
                                        "pidfd_open",
                                        "waitid on a pidfd",
                                        "pidfd_send_signal",
                                        "clone3",
                                        "close_range",
                                        "memfd_create",
                                        "memfd seals",
                                        "futex_waitv",
                                        "user namespace",
                                        "PID namespace",
                                        "mount namespace",
                                        "net namespace",
                                        "seccomp filter",
                                        "seccomp trap",
                                        "seccomp listener",
                                        "Landlock",
                                        "cgroups",
                                        "cgroup, delegated",
                                        "cgroup.kill",
                                        "CPU quota",
                                        "memory limit",
                                        "memory",
                                        "overcommit",
                                        "transparent huge pages",
                                        "reserved huge pages",
                                        "memfd of huge pages",
                                        "/dev/shm",
                                        "open files",
                                        "processes",
                                        "address space",
                                        "locked memory",
                                        "core file",
                                        "core pattern",
                                        "pid_max",
                                        "threads-max",
                                        "ptrace_scope",
                                        "/proc",
                                        "CPUs",
                                        "thread",
                                        "process, fork_server",
                                        "process, spawn",
                                        "process, fork_options"};

TEST_F(doctor, says_a_row_for_each_thing_and_that_tandem_works) {
  const ran done = tandem_with({"doctor"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  expect_lines_of_at_most_100(done.out);
  for (const std::string& name : names) EXPECT_THAT(done.out, HasSubstr("\n  " + name + " "));
  EXPECT_THAT(done.out, EndsWith("\ntandem works here.\n"));
}

TEST_F(doctor, json_has_the_same_rows) {
  const ran done = tandem_with({"doctor", "--json"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_EQ(in_json(done.out, "d['works'], d['missing']"), "True []");
  std::string expected;
  for (const std::string& name : names) expected += (expected.empty() ? "" : "|") + name;
  EXPECT_EQ(in_json(done.out, "'|'.join(r['name'] for r in d['rows'])"), expected);
  EXPECT_EQ(in_json(done.out, "{tuple(r) for r in d['rows']}"),
            "{('section', 'name', 'answer', 'value', 'needed', 'meaning')}");
  EXPECT_EQ(in_json(done.out, "{r['answer'] for r in d['rows']} - {'yes', 'no', 'limited', 'value'}"), "set()");
  EXPECT_EQ(
      in_json(done.out, "[r for r in d['rows'] if not (r['meaning'].endswith('.') and r['meaning'][0].isupper())]"),
      "[]");
  EXPECT_EQ(in_json(done.out, "[r for r in d['rows'] if r['answer'] == 'value' and not r['value']]"), "[]");
}

TEST_F(doctor, works_where_only_what_is_not_needed_is_missing) {
  const ran done = tandem_without("clone3,close_range,futex_waitv,unshare,landlock_create_ruleset,seccomp", {"doctor"});
  EXPECT_EQ(done.code, 0) << done.out;
  for (const char* name : {"clone3", "close_range", "futex_waitv", "PID namespace", "seccomp filter", "Landlock"}) {
    EXPECT_THAT(done.out, ContainsRegex(std::string(name) + " +no \\(ENOSYS\\)"));
  }
  EXPECT_THAT(done.out, EndsWith("\ntandem works here.\n"));
}

TEST_F(doctor, fails_where_something_needed_is_missing) {
  const ran done = tandem_without("pidfd_open", {"doctor"});
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.err, "");
  expect_lines_of_at_most_100(done.out);
  EXPECT_THAT(done.out, ContainsRegex("pidfd_open +no \\(ENOSYS\\)"));
  EXPECT_THAT(done.out, ContainsRegex("\ntandem does not work here, without:\n  pidfd_open\n"));
  EXPECT_THAT(done.out, ContainsRegex("\n  process, fork_server\n"));

  const ran json = tandem_without("pidfd_open", {"doctor", "--json"});
  EXPECT_EQ(json.code, 1);
  EXPECT_EQ(in_json(json.out, "d['works'], 'pidfd_open' in d['missing']"), "False True");
}

TEST_F(doctor, says_what_could_not_be_tried_where_no_process_can_be_made) {
  if (!is_root()) GTEST_SKIP() << "for a user whose processes are counted by other programs as well";
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer itself starts a thread";
#endif
  const ran done = tandem_as_nobody({"doctor"}, "ulimit -u 0");
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.err, "");
  EXPECT_THAT(done.out, ContainsRegex("Landlock +no \\(not tried:"));
  EXPECT_THAT(done.out, ContainsRegex("\n  thread +no \\(not tried:"));
  expect_lines_of_at_most_100(done.out);
}

TEST_F(doctor, survives_a_filter_that_kills) {
  const ran done = tandem_without("!futex_waitv,!landlock_create_ruleset", {"doctor"});
  EXPECT_EQ(done.code, 0) << done.out;
  EXPECT_THAT(done.out, ContainsRegex("futex_waitv +no \\(SIGSYS\\)"));
  EXPECT_THAT(done.out, ContainsRegex("Landlock +no \\(SIGSYS\\)"));
}

TEST_F(doctor, survives_a_filter_that_kills_who_starts_processes) {
  const ran done = tandem_without("!pidfd_open,!pidfd_send_signal", {"doctor"});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.out, ContainsRegex("pidfd_open +no \\(SIGSYS\\)"));
  EXPECT_THAT(done.out, ContainsRegex("process, fork_server +no "));
  EXPECT_THAT(done.out, ContainsRegex("  thread +yes "));
}

TEST_F(doctor, runs_with_standard_streams_closed) { EXPECT_EQ(in_shell("doctor <&- 2>&-").code, 0); }

TEST_F(doctor, shows_the_limits_that_hold) {
  const ran done =
      run({"/bin/sh", "-c", std::string("ulimit -n 100; ulimit -c 0; exec '") + TANDEM_PROGRAM + "' doctor"});
  EXPECT_EQ(done.code, 0);
  EXPECT_THAT(done.out, ContainsRegex("open files +100 "));
  EXPECT_THAT(done.out, ContainsRegex("core file +0 "));
}

TEST_F(doctor, leaves_no_control_group) {
  running_program program({TANDEM_PROGRAM, "doctor"});
  program.read_rest();
  EXPECT_EQ(program.wait().code, 0);
  const std::string group = "tandem-doctor-" + std::to_string(program.pid());
  namespace fs = std::filesystem;
  std::error_code error;
  fs::recursive_directory_iterator at("/sys/fs/cgroup", fs::directory_options::skip_permission_denied, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    EXPECT_NE(at->path().filename(), group);
  }
}

TEST_F(doctor, shows_the_memory_limit_of_a_group_above) {
  namespace fs = std::filesystem;
  const fs::path group = "/sys/fs/cgroup/memory/tandem-test-" + std::to_string(::getpid());
  std::error_code error;
  if (!is_root() || !fs::create_directory(group, error)) GTEST_SKIP() << "no memory group can be made here";
  const ran done = run({"/bin/sh", "-c",
                        "echo 512M > \"$0/memory.limit_in_bytes\" && mkdir \"$0/below\" &&"
                        " echo $$ > \"$0/below/cgroup.procs\" && \"$1\" doctor; \"$1\" compare creation --large",
                        group, TANDEM_PROGRAM});
  EXPECT_TRUE(eventually([&] { return fs::remove(group / "below", error) && fs::remove(group, error); }));
  EXPECT_THAT(done.out, ContainsRegex("memory limit +512 MiB "));
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.err, "tandem: there is not enough memory for a host of 4 GiB\n");
}

TEST_F(doctor, as_nobody) {
  if (!is_root()) GTEST_SKIP() << "only root can become nobody; the other tests ran without privileges already";
  const ran done = tandem_as_nobody({"doctor"});
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.err, "");
  EXPECT_THAT(done.out, HasSubstr("tandem works here."));
  EXPECT_THAT(done.out, Not(HasSubstr("user 0")));
  const ran json = tandem_as_nobody({"doctor", "--json"});
  EXPECT_EQ(json.code, 0);
  EXPECT_EQ(in_json(json.out, "d['works'], d['user'] != 0"), "True True");
}

}  // namespace
