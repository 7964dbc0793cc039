// On kernels that lack a call, and under seccomp filters that deny it: all works, or a sentence says what is missing;
// never a hang, a wrong result, or something left.
#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "support/fixture.hpp"
#include "support/run_program.hpp"

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

struct missing_call {
  const char* name;
  const char* error;
  const char* user;
};

void PrintTo(const missing_call& call, std::ostream* out) {
  *out << call.name << " gives " << call.error << ", as " << call.user;
}

class missing_calls : public tandem::test::checked, public testing::WithParamInterface<missing_call> {
 protected:
  void SetUp() override {
    checked::SetUp();
#if defined(__SANITIZE_THREAD__)
    if (hidden("clone3") && denied()) GTEST_SKIP() << "ThreadSanitizer itself starts a thread";
#endif
    if (std::string(GetParam().user) == "nobody" && ::geteuid() != 0) GTEST_SKIP() << "only root becomes nobody";
  }

  static bool hidden(const std::string& name) { return name == GetParam().name; }
  static bool denied() { return std::string("EPERM") == GetParam().error; }
  // Without these there is no tandem.
  static bool needed() {
    return hidden("pidfd_open") || hidden("pidfd_send_signal") || hidden("waitid_of_a_pidfd") || hidden("memfd_create");
  }

  static std::vector<std::string> command(const std::string& program, const std::string& scenario) {
    std::vector<std::string> words = {tandem::test::program_beside("worker_without_call"), GetParam().name,
                                      GetParam().error, GetParam().user, tandem::test::program_beside(program)};
    if (!scenario.empty()) words.push_back(scenario);
    return words;
  }

  static tandem::test::ran run(const std::string& program, const std::string& scenario = {}) {
    tandem::test::ran said = tandem::test::run(command(program, scenario));
    EXPECT_EQ(said.code, 0) << said.out << said.err;
    EXPECT_EQ(said.signal, 0);
    return said;
  }
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::stringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string release() {
  utsname system{};
  ::uname(&system);
  return system.release;
}

// The sentence of the error, to the letter: it is all that a user has.
auto is_refusal(const std::string& call, const std::string& since, const std::string& advice) {
  return testing::ContainsRegex("unsupported: tandem: the system call " + call + ", which Linux has since " + since +
                                ", cannot be used here \\((Function not implemented|Operation not permitted); this is "
                                "Linux [^)]*\\); [^.]*" +
                                advice);
}

TEST_P(missing_calls, cost_nothing_or_are_named) {
  const std::vector<std::string> lines = lines_of(run("worker_basics").out);
  ASSERT_GE(lines.size(), 14U);
  EXPECT_THAT(lines, testing::Not(testing::Contains(HasSubstr("unexpected"))));
  EXPECT_THAT(lines, testing::Not(testing::Contains(StartsWith("left behind"))));
  if (needed()) {
    const std::string call = hidden("waitid_of_a_pidfd") ? "waitid of a pidfd" : GetParam().name;
    const char* since = hidden("pidfd_open")          ? "5\\.3"
                        : hidden("pidfd_send_signal") ? "5\\.1"
                        : hidden("memfd_create")      ? "3\\.17"
                                                      : "5\\.4";
    for (const std::string& line : lines) {
      if (line == "thread: 10") continue;  // threads need none of this
      EXPECT_THAT(line, is_refusal(call, since, "tandem needs Linux 5\\.4 or newer"));
      EXPECT_THAT(line, HasSubstr("this is Linux " + release()));
    }
    EXPECT_EQ(lines.back(), "thread: 10");
    return;
  }
  std::vector<std::string> expected = {
      "init: done",
      "small result: 49",
      "large result: whole",
      "large argument: 1048576",
      "exception: as ever",
      "stop: 5",
      "terminated: killed by signal 15 (SIGTERM: Terminated), as this program asked",
      "killed: killed by signal 9 (SIGKILL: Killed), as this program asked",
      "destroyed: does not hang",
      "crash: faulty 11",
      "uncaught: std::domain_error: nobody catches this",
      "nested: 9",
      "lock: owner died",
      "thread: 10",
  };
  std::vector<std::string> seen = lines;
  if (hidden("clone3") && denied()) {  // glibc starts no threads then
    for (const std::size_t needs_a_thread : {std::size_t{5}, std::size_t{13}}) {
      EXPECT_THAT(seen[needs_a_thread], is_refusal("clone3", "5\\.3", "answers it with ENOSYS"));
      seen[needs_a_thread] = expected[needs_a_thread];
    }
  }
  EXPECT_EQ(seen, expected);
}

TEST_P(missing_calls, leave_nothing_when_the_host_ends) {
  if (needed()) {
    EXPECT_THAT(tandem::test::run(command("worker_scenarios", "family")).out, StartsWith("unexpected: tandem: the "));
    return;
  }
  for (const char* scenario : {"family_returns", "family"}) {
    SCOPED_TRACE(scenario);
    tandem::test::running_program host(command("worker_scenarios", scenario));
    std::stringstream words(host.read_line());
    std::vector<pid_t> pids;
    for (pid_t pid = 0; words >> pid;) pids.push_back(pid);
    ASSERT_GE(pids.size(), 8U);
    if (std::string("family") == scenario) ::kill(host.pid(), SIGKILL);
    EXPECT_TRUE(tandem::test::eventually(
        [&] { return std::none_of(pids.begin(), pids.end(), [](pid_t pid) { return tandem::test::exists(pid); }); }));
    host.wait();
  }
}

TEST_P(missing_calls, do_not_keep_servers_from_being_made_again) {
  if (needed()) return;  // there are none
  EXPECT_THAT(run("worker_scenarios", "server_killed").out,
              AllOf(HasSubstr("value 49\n"), HasSubstr("nothing is left")));
  EXPECT_EQ(run("worker_scenarios", "preload").out, "host 0\nworker 421\nworker 421\nworker 421\n");
  if (hidden("clone3") && denied()) return;  // these start threads
  EXPECT_EQ(run("worker_scenarios", "keeper_killed").out, "value 49\nkept 11\n");
  EXPECT_THAT(run("worker_scenarios", "both_killed").out, HasSubstr("had died\nvalue 49\nrefused: "));
  EXPECT_EQ(run("worker_scenarios", "busy_locks").out, "100 returned\n");
}

std::vector<missing_call> all_missing_calls() {
  std::vector<missing_call> all;
  for (const char* user : {"self", "nobody"}) {
    for (const char* error : {"ENOSYS", "EPERM"}) {
      for (const char* name :
           {"pidfd_open", "pidfd_send_signal", "clone3", "close_range", "futex_waitv", "memfd_create"}) {
        all.push_back({name, error, user});
      }
    }
    all.push_back({"waitid_of_a_pidfd", "EINVAL", user});  // as Linux 5.3
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(kernels, missing_calls, testing::ValuesIn(all_missing_calls()), [](const auto& parameter) {
  const missing_call& call = parameter.param;
  return std::string(call.name) + "_" + call.error + "_" + call.user;
});

}  // namespace
