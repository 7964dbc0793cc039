// Scenarios in which the system gives less than is asked for.
#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <span>
#include <vector>

#include "os/kernel.hpp"
#include "scenarios.hpp"

// The kernel counts what a user has on its way through sockets, and refuses more than the limit of descriptors.
void descriptors_on_their_way() {
  constexpr unsigned nobody_else = 64321;
  if (::geteuid() == 0 && (::setgid(nobody_else) != 0 || ::setuid(nobody_else) != 0))
    return say("cannot become a user");
  constexpr std::size_t at_once = 200;
  constexpr int lots = 3;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max = at_once * (lots - 1);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  tandem::init();
  const std::vector<int> many(at_once, 0);
  std::array<tandem::file_descriptor, 2> box;
  const auto fill = [&] {
    tandem::os::check(tandem::os::socket_pair(box), "socketpair");
    const std::byte mark{};
    for (int i = 0; i < lots; ++i)
      tandem::os::check(tandem::os::send(box[0].get(), {std::span(&mark, 1)}, many), "sendmsg");
  };
  fill();
  expect_error<tandem::resource_exhausted>([] { tandem::process(square, 5).get(); });
  box = {};
  run_one();
  ::kill(tandem::os::children_of(tandem::os::children_of(::getpid()).at(0)).at(0), SIGKILL);
  fill();
  expect_error<tandem::resource_exhausted>([] { tandem::process(square, 5).get(); });
  box = {};
  run_one();
}

void small_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = 1 << 20;
  ::setrlimit(RLIMIT_FSIZE, &limit);
  expect_error<tandem::resource_exhausted>([] { tandem::init(); });
  limit.rlim_cur = RLIM_INFINITY;
  ::setrlimit(RLIMIT_FSIZE, &limit);
  tandem::init();
  limit.rlim_cur = 1 << 20;
  ::setrlimit(RLIMIT_FSIZE, &limit);
  expect_error<tandem::resource_exhausted>(
      [] { tandem::process([](const std::string& s) { return s.size(); }, std::string(3 << 20, 'x')).get(); });
  expect_error<tandem::resource_exhausted>([] {
    tandem::process([] {
      rlimit own{};
      ::getrlimit(RLIMIT_FSIZE, &own);
      own.rlim_cur = 1 << 20;
      ::setrlimit(RLIMIT_FSIZE, &own);
      return std::string(3 << 20, 'x');
    }).get();
  });
  say("value " + std::to_string(tandem::process(square, 7).get()));
}
