// What a call of wait_any costs for a range of many handles, of which one is ready: beside ppoll(2) over the same
// descriptors, and epoll, which has them registered.
//
//   bench_wait [--rounds 7] [--json FILE]
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <tandem/pipe.hpp>
#include <tandem/wait.hpp>

#include "measure.hpp"

namespace {

template <class F>
double each(int calls, F call) {
  const auto start = bench::steady::now();
  for (int i = 0; i < calls; ++i) call();
  return bench::micros_since(start) / calls;
}

void require(bool good) {
  if (!good) throw std::runtime_error("not what was ready");
}

std::string measure(std::size_t handles, int rounds) {
  std::vector<tandem::receiver<int>> receivers;
  std::vector<tandem::sender<int>> senders;
  std::vector<pollfd> set;
  const int poll = ::epoll_create1(EPOLL_CLOEXEC);
  for (std::size_t i = 0; i < handles; ++i) {
    auto [rx, tx] = tandem::make_pipe<int>();
    set.push_back({rx.native_handle(), POLLIN, 0});
    epoll_event event{EPOLLIN, {.u64 = i}};
    require(::epoll_ctl(poll, EPOLL_CTL_ADD, rx.native_handle(), &event) == 0);
    receivers.push_back(std::move(rx));
    senders.push_back(std::move(tx));
  }
  const std::size_t ready = handles / 2;
  senders[ready].send(1);
  const int calls = static_cast<int>(std::max<std::size_t>(40000 / handles, 20));
  std::vector<bench::contestant> all{
      {"wait_any", [&] { return each(calls, [&] { require(tandem::wait_any(receivers) == ready); }); }},
      {"ppoll", [&] { return each(calls, [&] { require(::ppoll(set.data(), set.size(), nullptr, nullptr) == 1); }); }},
      {"epoll_wait", [&] {
         return each(calls, [&] {
           epoll_event event{};
           require(::epoll_wait(poll, &event, 1, -1) == 1 && event.data.u64 == ready);
         });
       }}};
  bench::interleave(all, rounds);
  std::string rows;
  for (const auto& c : all) {
    fmt::print("  {:>5} handles  {:<12}{:>10.2f}  ({:.2f} .. {:.2f})\n", handles, c.name, c.mid(), c.least(), c.most());
    rows += (rows.empty() ? "" : ",\n  ") + bench::json_of(c, fmt::format("{} handles", handles), 0);
  }
  ::close(poll);
  return rows;
}

void run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  const int rounds = given.number("--rounds", 7);
  const std::string json = given.text("--json", "");
  given.finish();
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  fmt::print("one call, one of the handles ready; µs, median of {} rounds (least .. most)\n", rounds);
  std::string rows;
  for (const std::size_t handles : {1UL, 10UL, 100UL, 1000UL, 4000UL}) {
    if (2 * handles + 64 > limit.rlim_cur) break;
    rows += (rows.empty() ? "" : ",\n  ") + measure(handles, rounds);
  }
  bench::write_file(json, "{\"rows\": [\n  " + rows + "\n]}\n");
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_wait", run, argc, argv); }
