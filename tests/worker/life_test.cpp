// Start-up, and that nothing outlives the program: each case runs a program of its own (scenarios.cpp).
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "os/kernel.hpp"
#include "support/fixture.hpp"
#include "support/run_program.hpp"

namespace {

using testing::HasSubstr;
using testing::StartsWith;

class life : public tandem::test::checked {
 protected:
  static tandem::test::ran scenario(const std::string& name) {
    tandem::test::ran said = tandem::test::run({tandem::test::program_beside("worker_scenarios"), name});
    EXPECT_EQ(said.code, 0) << said.out << said.err;
    EXPECT_EQ(said.signal, 0);
    return said;
  }
};

TEST_F(life, starts_without_init_while_there_is_one_thread) { EXPECT_EQ(scenario("lazy").out, "value 49\n"); }

TEST_F(life, refuses_to_start_late_and_says_what_to_write) {
  const std::string out = scenario("late").out;
  EXPECT_THAT(out, HasSubstr("refused: tandem: the first worker process was to start while other threads run"));
  EXPECT_THAT(out, HasSubstr("refused: tandem: tandem::init() was called while other threads run"));
  EXPECT_THAT(out, HasSubstr("Write tandem::init(); as the first line of main"));
  EXPECT_THAT(out, testing::EndsWith("value 49\n"));
}

TEST_F(life, preloads_once_and_shares_it) {
  EXPECT_EQ(scenario("preload").out, "host 0\nworker 421\nworker 421\nworker 421\n");
}

TEST_F(life, throws_what_the_preload_threw) {
  EXPECT_EQ(scenario("preload_throws").out, "refused: no dictionary\nvalue 49\n");
}

TEST_F(life, throws_also_what_cannot_be_rebuilt) {
  EXPECT_THAT(scenario("preload_throws_a_stranger").out, StartsWith("refused:"));
}

TEST_F(life, says_how_the_preload_ended_its_process) {
  EXPECT_THAT(scenario("preload_exits").out,
              testing::AllOf(HasSubstr("exited with code 9"), HasSubstr("preload"), HasSubstr("value 49")));
  EXPECT_THAT(scenario("preload_crashes").out, HasSubstr("signal 6"));
}

TEST_F(life, refuses_a_preload_that_leaves_threads) {
  EXPECT_THAT(scenario("preload_leaves_a_thread").out,
              testing::AllOf(HasSubstr("left threads running"), HasSubstr("value 49")));
}

TEST_F(life, refuses_workers_of_the_preload) {
  EXPECT_THAT(scenario("preload_starts_workers").out, HasSubstr("after tandem::init()"));
}

TEST_F(life, keeps_the_descriptors_of_the_preload) { EXPECT_EQ(scenario("preload_descriptors").out, "kept\n"); }

TEST_F(life, init_twice_is_harmless_but_not_with_other_options) {
  EXPECT_THAT(scenario("twice").out, testing::MatchesRegex("value 49\nrefused: tandem::init: .*\nvalue 49\n"));
}

TEST_F(life, init_in_a_worker_does_nothing) { EXPECT_EQ(scenario("init_in_a_worker").out, "value 9\n"); }

TEST_F(life, copies_no_lock_that_another_thread_holds) { EXPECT_EQ(scenario("busy_locks").out, "100 returned\n"); }

TEST_F(life, a_child_of_fork_is_detached) {
  const std::string out = scenario("detached").out;
  EXPECT_THAT(out, HasSubstr("refused: tandem: this process is a copy that fork() made"));
  EXPECT_THAT(out, HasSubstr("refused: tandem: this process belongs to the program that fork() copied"));
  EXPECT_THAT(out, testing::EndsWith("child 0, process runs: 1\nvalues 5 6\nvalue 49\n"));
}

// ---- the end ------------------------------------------------------------------------------------------------------

std::vector<pid_t> pids_in(const std::string& line) {
  std::vector<pid_t> pids;
  std::stringstream words(line);
  for (pid_t pid = 0; words >> pid;) pids.push_back(pid);
  return pids;
}

void expect_all_gone(const std::vector<pid_t>& pids, const char* after) {
  const auto start = std::chrono::steady_clock::now();
  const bool gone = tandem::test::eventually(
      [&] { return std::none_of(pids.begin(), pids.end(), [](pid_t pid) { return tandem::test::exists(pid); }); });
  EXPECT_TRUE(gone) << "processes of the program are left after " << after;
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  std::printf("after %s: %zu processes gone in %.1f ms\n", after, pids.size(), took.count());
}

TEST_F(life, nothing_outlives_a_killed_host) {
  tandem::test::running_program host({tandem::test::program_beside("worker_scenarios"), "family"});
  const std::vector<pid_t> pids = pids_in(host.read_line());
  ASSERT_EQ(pids.size(), 42U);
  ::kill(host.pid(), SIGKILL);
  expect_all_gone(pids, "SIGKILL of the host");
  EXPECT_EQ(host.wait().signal, SIGKILL);
}

constexpr const char* in_namespace =
    "seen\nnumbered apart\nkilled by signal 6 (SIGABRT: Aborted)\nnested 16\nfresh 25\n9\n";

TEST_F(life, workers_in_a_pid_namespace) { EXPECT_EQ(scenario("pid_namespace").out, in_namespace); }

TEST_F(life, workers_in_a_pid_namespace_without_privileges) {
  if (::geteuid() != 0) GTEST_SKIP() << "the other test is without privileges already";
  const auto as_nobody = [](std::vector<std::string> what) {
    std::vector<std::string> command = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                        "--inh-caps=-all"};
    command.insert(command.end(), what.begin(), what.end());
    return tandem::test::run(command);
  };
  const auto said = as_nobody({tandem::test::program_beside("worker_scenarios"), "pid_namespace"});
  if (said.code == 126 || said.code == 127) GTEST_SKIP() << "that user cannot reach the program";
  if (as_nobody({"unshare", "--user", "true"}).code == 0) {
    EXPECT_EQ(said.out, in_namespace) << said.err;
  } else {  // in a chroot, or by a sysctl
    EXPECT_THAT(said.out, HasSubstr("this system gives this user no PID namespace"));
  }
}

TEST_F(life, a_fresh_image_needs_init_in_main) {
  const std::string out = scenario("fresh_without_init").out;
  EXPECT_THAT(out, HasSubstr("refused: tandem: start_method::spawn starts this program afresh"));
  EXPECT_THAT(out, testing::EndsWith("value 49\n"));
  EXPECT_THAT(scenario("fresh_that_stops_before_init").out,
              HasSubstr("exited with code 77 before its function had returned: the fresh image of the program ended "
                        "before its main came to tandem::init()"));
}

TEST_F(life, a_fresh_image_starts_another) { EXPECT_EQ(scenario("fresh_in_fresh").out, "value 49\n"); }

TEST_F(life, a_worker_hears_signals_that_main_does_not) {
  const std::string hears =
      "unblocked 1 standard 1\nkilled by signal 15 (SIGTERM: Terminated), as this program asked\n";
  EXPECT_EQ(scenario("deaf").out, hears + hears);
}

TEST_F(life, rights_that_were_given_up_stay_given_up) {
  if (::geteuid() != 0) GTEST_SKIP() << "there are none to give up";
  const std::string out = scenario("rights_given_up").out;
  EXPECT_THAT(out, HasSubstr("the user of the program has changed since init"));
  EXPECT_THAT(out, testing::EndsWith("killed\n"));
}

TEST_F(life, descriptors_that_cannot_be_sent_are_an_error) {
  const std::string refused = "refused: sendmsg: Too many references.*raise the limit\n";
  EXPECT_THAT(scenario("descriptors_on_their_way").out,
              testing::MatchesRegex(refused + "value 49\n" + refused + "value 49\n"));
}

TEST_F(life, a_limit_of_file_size_is_an_error) {
  const std::string out = scenario("small_files").out;
  EXPECT_THAT(out, HasSubstr("File too large"));
  EXPECT_THAT(out, testing::EndsWith("value 49\n"));
  EXPECT_THAT(out, testing::Not(HasSubstr("nothing was thrown")));
}

TEST_F(life, wide_output_and_that_of_the_preload_appear_once) {
  const tandem::test::ran said = tandem::test::run({tandem::test::program_beside("worker_scenarios"), "wide_output"});
  EXPECT_EQ(said.err, "log of the program ");
  for (const char* part : {"wide of the program ", "preloaded ", "wide of the worker "}) {
    const std::size_t at = said.out.find(part);
    EXPECT_NE(at, std::string::npos) << part;
    EXPECT_EQ(said.out.find(part, at + 1), std::string::npos) << part;
  }
}

TEST_F(life, what_a_worker_leaves_in_any_stream_is_written) {
  EXPECT_EQ(scenario("own_streams").out, "wide of the worker a stream of the worker's own ");
}

TEST_F(life, a_namespace_must_be_asked_for_first) {
  EXPECT_THAT(scenario("namespace_too_late").out, HasSubstr("outside of a PID namespace"));
}

TEST_F(life, nothing_outlives_the_keeper_of_a_namespace) {
  tandem::test::running_program host({tandem::test::program_beside("worker_scenarios"), "family_in_namespace"});
  const std::vector<pid_t> pids = pids_in(host.read_line());
  ASSERT_EQ(pids.size(), 42U);
  ::kill(pids[0], SIGKILL);  // the keeper, who would adopt them
  ::kill(host.pid(), SIGKILL);
  expect_all_gone(pids, "SIGKILL of host and keeper, in a PID namespace");
  EXPECT_EQ(host.wait().signal, SIGKILL);
}

TEST_F(life, nothing_outlives_a_host_killed_with_its_server_or_its_keeper) {
  for (const std::size_t also : {0U, 1U}) {
    tandem::test::running_program host({tandem::test::program_beside("worker_scenarios"), "family"});
    std::vector<pid_t> pids = pids_in(host.read_line());
    ASSERT_EQ(pids.size(), 42U);
    // The first is the keeper; the server is its first child, the next in depth-first order.
    const pid_t victim = pids[also];
    const auto daemons_of_keeper = tandem::os::children_of(pids[0]);
    ::kill(host.pid(), SIGKILL);
    ::kill(victim, SIGKILL);
    if (also == 0) {  // with the keeper go its orphans, unless a PID namespace holds them: they are ours to end here
      std::erase_if(pids, [&](pid_t pid) {
        const bool daemon = std::count(daemons_of_keeper.begin(), daemons_of_keeper.end(), pid) != 0 && pid != pids[1];
        if (daemon) ::kill(pid, SIGKILL);
        return daemon;
      });
    }
    expect_all_gone(pids, also == 0 ? "SIGKILL of host and keeper" : "SIGKILL of host and server");
    host.wait();
  }
}

TEST_F(life, nothing_outlives_a_host_that_returns_from_main) {
  tandem::test::running_program host({tandem::test::program_beside("worker_scenarios"), "family_returns"});
  const std::vector<pid_t> pids = pids_in(host.read_line());
  ASSERT_EQ(pids.size(), 8U);
  EXPECT_EQ(host.wait().code, 0);
  expect_all_gone(pids, "the end of main");
}

TEST_F(life, nothing_outlives_a_host_that_ends_as_it_makes_a_copy) {
  for (int i = 0; i < 20; ++i) {
    tandem::test::running_program host({tandem::test::program_beside("worker_scenarios"), "copy_at_the_end"});
    const std::vector<pid_t> pids = pids_in(host.read_line());
    ASSERT_EQ(pids.size(), 1U);
    EXPECT_EQ(host.wait().code, 0);
    expect_all_gone(pids, "a copy");
  }
}

TEST_F(life, nothing_outlives_a_host_that_execs) {
  tandem::test::running_program host({tandem::test::program_beside("worker_scenarios"), "family_execs"});
  const std::vector<pid_t> pids = pids_in(host.read_line());
  ASSERT_EQ(pids.size(), 8U);
  expect_all_gone(pids, "exec");
}

TEST_F(life, a_killed_server_costs_its_workers_and_the_next_start_works) {
  EXPECT_EQ(scenario("server_killed").out,
            "killed by signal 9 (SIGKILL: Killed), because the fork server that it was cloned from had died\nvalue "
            "49\nnothing is left\n");
  EXPECT_EQ(scenario("server_killed_many_times").out,
            "value 49\nvalue 49\nvalue 49\nvalue 49\nvalue 49\nvalue 49\nvalue 49\nvalue 49\nvalue 49\nvalue 49\n");
}

TEST_F(life, a_killed_keeper_costs_nothing) { EXPECT_EQ(scenario("keeper_killed").out, "value 49\nkept 11\n"); }

TEST_F(life, both_killed_are_made_again_while_that_is_safe) {
  const std::string out = scenario("both_killed").out;
  EXPECT_THAT(out, HasSubstr("because the fork server that it was cloned from had died\nvalue 49\n"));
  EXPECT_THAT(out, HasSubstr("refused: tandem: both the fork server and its keeper were killed"));
}

// ---- output -------------------------------------------------------------------------------------------------------

TEST_F(life, output_appears_once_and_in_whole_lines) {
  const std::string out = scenario("output").out;
  std::stringstream lines(out);
  std::multiset<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line.starts_with("worker ") || line.starts_with("the end of ") || line == "without a newline" ||
                line == "before after")
        << line;
    seen.insert(line);
  }
  EXPECT_EQ(seen.size(), 4U * 502 + 1);
  for (int n = 0; n < 4; ++n) {
    EXPECT_EQ(seen.count("the end of " + std::to_string(n)), 1U);
    for (int line = 0; line < 500; ++line) {
      EXPECT_EQ(
          seen.count("worker " + std::to_string(n) + " line " + std::to_string(line) + " of many that share one pipe"),
          1U);
    }
  }
}

TEST_F(life, output_that_cannot_be_written_is_said_and_harms_nothing) {
  const std::string program = tandem::test::program_beside("worker_scenarios");
  const auto full = tandem::test::run({"sh", "-c", program + " print_one >/dev/full"});
  EXPECT_EQ(full.code, 0);
  EXPECT_THAT(full.err,
              testing::AllOf(HasSubstr("value 3"), HasSubstr("some of what it printed could not be written")));
  const auto closed = tandem::test::run({"sh", "-c", program + " print_one >&-"});
  EXPECT_EQ(closed.code, 0);
  EXPECT_THAT(closed.err,
              testing::AllOf(HasSubstr("value 3"), HasSubstr("some of what it printed could not be written")));
  const auto all_closed = tandem::test::run({"sh", "-c", program + " print_one <&- >&- 2>&-"});
  EXPECT_EQ(all_closed.code, 0);
}

TEST_F(life, the_text_of_a_crash_is_complete) {
  EXPECT_THAT(scenario("crash_text").err,
              testing::AllOf(HasSubstr("the last words"),
                             HasSubstr("terminate called after throwing an instance of 'std::domain_error'"),
                             HasSubstr("what():  of a thread")));
}

// Not if we are not root, or in a chroot whose root is no mount point.
bool can_be_given_mounts() { return tandem::test::run({"unshare", "--mount", "true"}).code == 0; }

TEST_F(life, works_without_proc) {
  if (!can_be_given_mounts()) GTEST_SKIP() << "needs a mount namespace of its own";
  const std::string program = tandem::test::program_beside("worker_scenarios");
  const auto said = tandem::test::run({"unshare", "--mount", program, "no_proc"});
  EXPECT_EQ(said.out,
            "value 49\nrefused: as ever\nkilled by signal 9 (SIGKILL: Killed), as this program asked\ncpus 1\nworkers "
            "0\ncopy 49\n")
      << said.err;
}

TEST_F(life, a_fresh_image_without_a_file_names_it) {
  if (!can_be_given_mounts()) GTEST_SKIP() << "needs a mount namespace of its own";
  const auto copy = std::filesystem::temp_directory_path() / ("tandem-no-file-" + std::to_string(::getpid()));
  std::filesystem::copy_file(tandem::test::program_beside("worker_scenarios"), copy);
  const auto said = tandem::test::run({"unshare", "--mount", copy, "no_file"});
  EXPECT_FALSE(std::filesystem::exists(copy));
  std::filesystem::remove(copy);
  EXPECT_THAT(said.out,
              testing::AllOf(HasSubstr("execve"), HasSubstr("the program's own file, which was " + copy.string())))
      << said.err;
}

}  // namespace
