// What clients that never finish shaking hands cost a good one: a listener serves one client after the other, each of which
// connects, sends 64 bytes and gets them back, alone and then beside many connections that send one byte a second.
//
//   bench_slow_clients [--slow 500] [--clients 1000] [--deadline-ms 3000] [--json FILE]
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>
#include <memory>

#include <tandem/socket.hpp>

#include "measure.hpp"

namespace {

using buffer = std::vector<std::byte>;

/// Keeps `count` connections open, each of which sends the right first bytes, one a second. Counts those that were dropped
/// meanwhile, and opens another for each.
[[noreturn]] void be_slow(int port, int count, int report) {
  const auto open_one = [port] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) ::_exit(1);
    return fd;
  };
  struct slow_one {
    int fd = -1;
    std::size_t said = 0;
  };
  std::vector<slow_one> all(static_cast<std::size_t>(count));
  for (auto& one : all) one.fd = open_one();
  int dropped = 0;
  static_cast<void>(!::write(report, &dropped, sizeof dropped));  // all are there
  constexpr unsigned char hello[] = {0x54, 0x7d, 1, 16};
  const auto pause = std::chrono::nanoseconds(std::chrono::seconds(1)) / count;
  for (std::size_t i = 0;; i = (i + 1) % all.size()) {
    slow_one& one = all[i];
    const unsigned char byte = one.said < sizeof hello ? hello[one.said] : 0;
    ++one.said;
    char end = 0;
    if (::recv(one.fd, &end, 1, MSG_DONTWAIT) >= 0 || ::send(one.fd, &byte, 1, MSG_NOSIGNAL) != 1) {
      ::close(one.fd);
      one = {open_one()};
      ++dropped;
      static_cast<void>(!::write(report, &dropped, sizeof dropped));
    }
    std::this_thread::sleep_for(pause);
  }
}

std::vector<double> conversations(const tandem::listener& l, int clients) {
  std::vector<double> micros;
  const buffer question(64);
  for (int i = 0; i < clients; ++i) {
    const auto start = bench::steady::now();
    const auto c = tandem::connect<buffer>(l.address());
    c.send(question);
    if (c.receive() != question) throw std::runtime_error("another answer");
    micros.push_back(bench::micros_since(start));
  }
  std::sort(micros.begin(), micros.end());
  return micros;
}

std::string row(const char* name, const std::vector<double>& sorted) {
  const auto at = [&](double part) {
    return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))];
  };
  fmt::print("  {:<32} p50 {:>8.1f}   p99 {:>8.1f}   most {:>8.1f}\n", name, at(0.5), at(0.99), sorted.back());
  return fmt::format(R"({{"name": "{}", "p50_us": {:.2f}, "p99_us": {:.2f}, "most_us": {:.2f}}})", name, at(0.5),
                     at(0.99), sorted.back());
}

void run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  const int slow = given.number("--slow", 500);
  const int clients = given.number("--clients", 1000);
  const int deadline = given.number("--deadline-ms", 3000);
  const std::string json = given.text("--json", "");
  given.finish();
  tandem::listener l("tcp://127.0.0.1:0",
                     {.handshake_deadline = std::chrono::milliseconds(deadline), .backlog = slow + 16});
  const int port = std::stoi(l.address().substr(l.address().rfind(':') + 1));
  int report[2];
  int begin[2];
  if (::pipe2(report, O_CLOEXEC) != 0 || ::pipe2(begin, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  const pid_t others = ::fork();
  if (others == 0) {
    char go = 0;
    if (::read(begin[0], &go, 1) != 1) ::_exit(0);
    be_slow(port, slow, report[1]);
  }
  std::thread server([&] {
    for (;;) {
      try {
        const auto c = l.accept<buffer>();
        if (const auto question = c.receive()) c.send(*question);
      } catch (const tandem::closed&) {
        return;
      } catch (const tandem::broken_connection&) {  // of the slow ones, when they are killed
      }
    }
  });
  conversations(l, 100);
  const auto before = conversations(l, clients);
  static_cast<void>(!::write(begin[1], "x", 1));
  int dropped = 0;
  static_cast<void>(!::read(report[0], &dropped, sizeof dropped));
  std::vector<double> beside;
  const auto start = bench::steady::now();
  while (bench::micros_since(start) < 1000.0 * 1.5 * deadline) {
    const auto more = conversations(l, clients / 10);
    beside.insert(beside.end(), more.begin(), more.end());
  }
  std::sort(beside.begin(), beside.end());
  pollfd news{report[0], POLLIN, 0};
  while (::poll(&news, 1, 0) == 1) {
    if (::read(report[0], &dropped, sizeof dropped) <= 0) break;
  }
  ::kill(others, SIGKILL);
  ::waitpid(others, nullptr, 0);
  const auto after = conversations(l, clients);
  l.close();
  server.join();
  fmt::print("connect, 64 B there and back, close; µs, {} CPUs\n", bench::allowed_cpus().size());
  std::string rows = row("alone, before", before);
  rows += ",\n  " + row("beside the slow ones", beside);
  rows += ",\n  " + row("alone, after", after);
  fmt::print("  of {} slow connections that were replaced as they went, {} were dropped at the deadline of {} ms\n",
             slow, dropped, deadline);
  bench::write_file(json, "{\"rows\": [\n  " + rows + "\n]}\n");
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_slow_clients", run, argc, argv); }
