// Messages there and back, and one way, between two processes: pipes, unix sockets and TCP of tandem beside the raw system
// calls, ZeroMQ, nng, Boost.Asio and Python.
//
//   bench_channel [--rounds 7] [--sizes 64,4096,...] [--cpus all|one|both] [--python python3] [--json FILE]
//
// Each contestant has a partner process, forked before anything else, that echoes messages, or swallows them and confirms
// a batch.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <boost/asio.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#if TANDEM_BENCH_ZMQ
#include <zmq.h>
#endif
#if TANDEM_BENCH_NNG
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#endif

#include <array>
#include <csignal>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <sstream>

#include <tandem/pipe.hpp>
#include <tandem/socket.hpp>

#include "measure.hpp"

namespace {

using buffer = std::vector<std::byte>;
constexpr const char* all_sizes = "64,4096,65536,131072,262144,1048576";
constexpr std::size_t largest = std::size_t{1} << 20;

/// One side of what is measured: blocking, whole messages of a size that both know.
class peer {
 public:
  peer() = default;
  peer(const peer&) = delete;
  peer& operator=(const peer&) = delete;
  virtual ~peer() = default;
  virtual void send(std::span<const std::byte>) = 0;
  virtual void receive(std::span<std::byte>) = 0;
};
using maker = std::function<std::unique_ptr<peer>()>;

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + " failed");
}

// ---- raw system calls ---------------------------------------------------------------------------------------------

class raw_peer final : public peer {
 public:
  raw_peer(int in, int out) : in_(in), out_(out) {}
  void send(std::span<const std::byte> all) override {
    while (!all.empty()) {
      const ssize_t n = ::write(out_, all.data(), all.size());
      require(n > 0, "write");
      all = all.subspan(static_cast<std::size_t>(n));
    }
  }
  void receive(std::span<std::byte> all) override {
    while (!all.empty()) {
      const ssize_t n = ::read(in_, all.data(), all.size());
      require(n > 0, "read");
      all = all.subspan(static_cast<std::size_t>(n));
    }
  }

 private:
  int in_;
  int out_;
};

struct ends {
  maker here;
  maker there;
};

ends raw_pipes() {
  int to[2];
  int back[2];
  require(::pipe2(to, O_CLOEXEC) == 0 && ::pipe2(back, O_CLOEXEC) == 0, "pipe2");
  return {[=] { return std::make_unique<raw_peer>(back[0], to[1]); },
          [=] { return std::make_unique<raw_peer>(to[0], back[1]); }};
}

ends raw_pair(int type) {
  int pair[2];
  require(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
  return {[=] { return std::make_unique<raw_peer>(pair[0], pair[0]); },
          [=] { return std::make_unique<raw_peer>(pair[1], pair[1]); }};
}

/// A connected pair of TCP sockets.
std::array<int, 2> tcp_pair() {
  const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  auto* const address = reinterpret_cast<sockaddr*>(&at);
  require(::bind(listening, address, size) == 0 && ::listen(listening, 1) == 0, "listen");
  require(::getsockname(listening, address, &size) == 0, "getsockname");
  const int one = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(::connect(one, address, size) == 0, "connect");
  const int other = ::accept(listening, nullptr, nullptr);
  ::close(listening);
  const int on = 1;
  for (const int fd : {one, other}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return {one, other};
}

ends raw_tcp() {
  const auto pair = tcp_pair();
  return {[=] { return std::make_unique<raw_peer>(pair[0], pair[0]); },
          [=] { return std::make_unique<raw_peer>(pair[1], pair[1]); }};
}

// ---- tandem -------------------------------------------------------------------------------------------------------

class tandem_pipes final : public peer {
 public:
  tandem_pipes(tandem::receiver<buffer> in, tandem::sender<buffer> out) : in_(std::move(in)), out_(std::move(out)) {}
  void send(std::span<const std::byte> all) override { out_.send_bytes(all); }
  void receive(std::span<std::byte> all) override {
    require(in_.receive_bytes_into(all) == all.size(), "receive_bytes_into");
  }

 private:
  tandem::receiver<buffer> in_;
  tandem::sender<buffer> out_;
};

class tandem_connection final : public peer {
 public:
  explicit tandem_connection(tandem::connection<buffer, buffer> c) : c_(std::move(c)) {}
  void send(std::span<const std::byte> all) override { c_.send_bytes(all); }
  void receive(std::span<std::byte> all) override {
    require(c_.receive_bytes_into(all) == all.size(), "receive_bytes_into");
  }

 private:
  tandem::connection<buffer, buffer> c_;
};

ends pipes_of_tandem() {
  auto to = tandem::make_pipe<buffer>();
  auto back = tandem::make_pipe<buffer>();
  return {[=] { return std::make_unique<tandem_pipes>(back.rx, to.tx); },
          [=] { return std::make_unique<tandem_pipes>(to.rx, back.tx); }};
}

ends duplex_of_tandem() {
  const auto pair = tandem::make_duplex<buffer, buffer>();
  return {[=] { return std::make_unique<tandem_connection>(pair.first); },
          [=] { return std::make_unique<tandem_connection>(pair.second); }};
}

ends sockets_of_tandem(const char* address) {
  tandem::listener l(address);
  const auto client = tandem::connect<buffer>(l.address());
  const auto server = l.accept<buffer>();
  return {[=] { return std::make_unique<tandem_connection>(client); },
          [=] { return std::make_unique<tandem_connection>(server); }};
}

// ---- others -------------------------------------------------------------------------------------------------------

/// Length and bytes over a stream socket, by Boost.Asio.
template <class Protocol>
class asio_peer final : public peer {
 public:
  asio_peer(Protocol protocol, int fd) : socket_(context_, protocol, fd) {}
  void send(std::span<const std::byte> all) override {
    const std::uint64_t size = all.size();
    const std::array<boost::asio::const_buffer, 2> both{boost::asio::buffer(&size, sizeof size),
                                                        boost::asio::buffer(all.data(), all.size())};
    boost::asio::write(socket_, both);
  }
  void receive(std::span<std::byte> all) override {
    std::uint64_t size = 0;
    boost::asio::read(socket_, boost::asio::buffer(&size, sizeof size));
    require(size == all.size(), "the length");
    boost::asio::read(socket_, boost::asio::buffer(all.data(), all.size()));
  }

 private:
  boost::asio::io_context context_;
  typename Protocol::socket socket_;
};

ends asio_unix() {
  int pair[2];
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
  using protocol = boost::asio::local::stream_protocol;
  return {[=] { return std::make_unique<asio_peer<protocol>>(protocol(), pair[0]); },
          [=] { return std::make_unique<asio_peer<protocol>>(protocol(), pair[1]); }};
}

ends asio_tcp() {
  const auto pair = tcp_pair();
  using protocol = boost::asio::ip::tcp;
  return {[=] { return std::make_unique<asio_peer<protocol>>(protocol::v4(), pair[0]); },
          [=] { return std::make_unique<asio_peer<protocol>>(protocol::v4(), pair[1]); }};
}

[[maybe_unused]] std::string ipc_address(const char* kind) {
  static int number = 0;
  return fmt::format("ipc:///tmp/tandem-bench-{}-{}-{}", kind, ::getpid(), number++);
}

#if TANDEM_BENCH_ZMQ
class zmq_peer final : public peer {
 public:
  zmq_peer(const std::string& address, bool binds)
      : context_(::zmq_ctx_new()), socket_(::zmq_socket(context_, ZMQ_PAIR)) {
    require((binds ? ::zmq_bind(socket_, address.c_str()) : ::zmq_connect(socket_, address.c_str())) == 0, "zmq");
  }
  ~zmq_peer() override {
    ::zmq_close(socket_);
    ::zmq_ctx_destroy(context_);
  }
  void send(std::span<const std::byte> all) override {
    require(::zmq_send(socket_, all.data(), all.size(), 0) == static_cast<int>(all.size()), "zmq_send");
  }
  void receive(std::span<std::byte> all) override {
    require(::zmq_recv(socket_, all.data(), all.size(), 0) == static_cast<int>(all.size()), "zmq_recv");
  }

 private:
  void* context_;
  void* socket_;
};
ends zmq_ipc() {
  const std::string address = ipc_address("zmq");
  return {[=] { return std::make_unique<zmq_peer>(address, true); },
          [=] { return std::make_unique<zmq_peer>(address, false); }};
}
#endif

#if TANDEM_BENCH_NNG
class nng_peer final : public peer {
 public:
  nng_peer(const std::string& address, bool binds) {
    require(::nng_pair0_open(&socket_) == 0, "nng_pair0_open");
    ::nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0);
    require((binds ? ::nng_listen(socket_, address.c_str(), nullptr, 0)
                   : ::nng_dial(socket_, address.c_str(), nullptr, NNG_FLAG_NONBLOCK)) == 0,
            "nng");
  }
  ~nng_peer() override { ::nng_close(socket_); }
  void send(std::span<const std::byte> all) override {
    require(::nng_send(socket_, const_cast<std::byte*>(all.data()), all.size(), 0) == 0, "nng_send");
  }
  void receive(std::span<std::byte> all) override {
    std::size_t size = all.size();
    require(::nng_recv(socket_, all.data(), &size, 0) == 0 && size == all.size(), "nng_recv");
  }

 private:
  nng_socket socket_{};
};
ends nng_ipc() {
  const std::string address = ipc_address("nng");
  return {[=] { return std::make_unique<nng_peer>(address, true); },
          [=] { return std::make_unique<nng_peer>(address, false); }};
}
#endif

// ---- partners -----------------------------------------------------------------------------------------------------

struct order {
  std::size_t size = 0;
  int count = 0;  // messages; 0: the end
  bool back = false;
};

/// A process that does what it is told over pipes of its own, and a peer on each side.
class pairing {
 public:
  explicit pairing(ends e) : ends_(std::move(e)) {
    int tell[2];
    require(::pipe2(tell, O_CLOEXEC) == 0, "pipe2");
    pid_ = ::fork();
    require(pid_ >= 0, "fork");
    if (pid_ == 0) {
      ::close(tell[1]);
      ::_exit(serve(ends_.there, tell[0]));
    }
    ::close(tell[0]);
    tell_ = tell[1];
  }
  /// Once all partners are forked: some libraries start threads.
  void begin() { here_ = ends_.here(); }
  pairing(const pairing&) = delete;
  pairing& operator=(const pairing&) = delete;
  ~pairing() {
    ::close(tell_);
    here_.reset();
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  /// µs for one message there and back, or one way.
  double run(std::size_t size, int count, bool back) {
    const order o{size, count, back};
    require(::write(tell_, &o, sizeof o) == sizeof o, "write");
    const std::span<std::byte> message = std::span(memory_).first(size);
    std::byte done{};
    const auto start = bench::steady::now();
    for (int i = 0; i < count; ++i) {
      here_->send(message);
      if (back) here_->receive(message);
    }
    if (!back) here_->receive({&done, 1});
    return bench::micros_since(start) / count;
  }

 private:
  static int serve(const maker& make, int orders) {
    const std::unique_ptr<peer> made = make();
    peer& there = *made;
    buffer memory(largest);
    for (order o; ::read(orders, &o, sizeof o) == sizeof o;) {
      const std::span<std::byte> message = std::span(memory).first(o.size);
      for (int i = 0; i < o.count; ++i) {
        there.receive(message);
        if (o.back) there.send(message);
      }
      if (!o.back) there.send(message.first(1));
    }
    return 0;
  }

  ends ends_;
  pid_t pid_ = -1;
  int tell_ = -1;
  std::unique_ptr<peer> here_;
  buffer memory_ = buffer(largest);
};

/// Python prints the same figures for its multiprocessing.Pipe.
double python(const std::string& program, std::size_t size, int count, bool back) {
  static constexpr const char* script =
      "import sys,time,multiprocessing as m\n"
      "size,count,back=map(int,sys.argv[1:])\n"
      "def serve(c):\n"
      " for i in range(count):\n"
      "  b=c.recv_bytes()\n"
      "  if back: c.send_bytes(b)\n"
      " if not back: c.send_bytes(b'x')\n"
      "a,b=m.Pipe()\n"
      "p=m.Process(target=serve,args=(b,));p.start()\n"
      "v=bytes(size)\n"
      "t=time.perf_counter()\n"
      "for i in range(count):\n"
      " a.send_bytes(v)\n"
      " if back: a.recv_bytes()\n"
      "if not back: a.recv_bytes()\n"
      "print((time.perf_counter()-t)*1e6/count);p.join()\n";
  const std::string command = fmt::format("{} -c \"{}\" {} {} {}", program, script, size, count, back ? 1 : 0);
  FILE* const out = ::popen(command.c_str(), "r");
  require(out != nullptr, "popen");
  double micros = 0;
  const int read = std::fscanf(out, "%lf", &micros);
  ::pclose(out);
  return read == 1 ? micros : 0;
}

// ---- the report ---------------------------------------------------------------------------------------------------

struct entry {
  const char* name;
  ends (*make)();
};
constexpr entry entries[] = {
    {"raw pipe(2)", raw_pipes},
    {"raw unix stream", [] { return raw_pair(SOCK_STREAM); }},
    {"tandem pipe", pipes_of_tandem},
    {"tandem duplex", duplex_of_tandem},
    {"tandem unix socket", [] { return sockets_of_tandem("unix:@"); }},
    {"raw TCP", raw_tcp},
    {"tandem TCP", [] { return sockets_of_tandem("tcp://127.0.0.1:0"); }},
    {"Boost.Asio unix", asio_unix},
    {"Boost.Asio TCP", asio_tcp},
#if TANDEM_BENCH_ZMQ
    {"ZeroMQ ipc PAIR", zmq_ipc},
#endif
#if TANDEM_BENCH_NNG
    {"nng ipc pair", nng_ipc},
#endif
};

void print_ratio(const std::vector<bench::contestant>& all, const char* ours, const char* raw, bool back) {
  const auto each = bench::ratios(bench::named(all, ours), bench::named(all, raw));
  const double ratio = bench::median(each);
  fmt::print("    {:<22}{} {}: {:.2f}\n", ours, back ? "time /" : "throughput /", raw, back ? ratio : 1 / ratio);
}

void measure(std::vector<std::unique_ptr<pairing>>& pairs, const std::vector<std::size_t>& sizes, int rounds,
             const std::string& python_program, const std::string& pinning, std::string& json) {
  for (const bool back : {true, false}) {
    for (const std::size_t size : sizes) {
      const int count = static_cast<int>(std::clamp<std::size_t>((std::size_t{96} << 20) / size, 40, 4000));
      std::vector<bench::contestant> all;
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        pairing* const p = pairs[i].get();
        p->run(size, 10, back);
        all.push_back({entries[i].name, [=] { return p->run(size, count, back); }});
      }
      if (!python_program.empty()) {
        all.push_back({"Python Pipe", [&] { return python(python_program, size, std::min(count, 1000), back); }});
      }
      bench::interleave(all, rounds);
      fmt::print("\n{}, {} B, {}: µs each, median of {} rounds (least .. most)\n", pinning, size,
                 back ? "there and back" : "one way", rounds);
      for (const bench::contestant& c : all) {
        fmt::print("  {:<22}{:>10.2f}  ({:.2f} .. {:.2f})\n", c.name, c.mid(), c.least(), c.most());
        json += (json.empty() ? "" : ",\n  ") +
                bench::json_of(c, fmt::format("{} {} {}", pinning, size, back ? "back" : "one way"), 0);
      }
      print_ratio(all, "tandem pipe", "raw pipe(2)", back);
      print_ratio(all, "tandem duplex", "raw unix stream", back);
      print_ratio(all, "tandem unix socket", "raw unix stream", back);
      print_ratio(all, "tandem TCP", "raw TCP", back);
      std::fflush(stdout);
    }
  }
}

std::vector<std::size_t> sizes_of(const std::string& list) {
  std::vector<std::size_t> sizes;
  std::stringstream in(list);
  for (std::string one; std::getline(in, one, ',');) sizes.push_back(std::stoul(one));
  for (const std::size_t size : sizes) require(size > 0 && size <= largest, "a size from 1 to 1048576");
  return sizes;
}

void run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  const int rounds = given.number("--rounds", 7);
  const std::string python_program = given.text("--python", "python3");
  const std::string json = given.text("--json", "");
  const std::vector<std::size_t> sizes = sizes_of(given.text("--sizes", all_sizes));
  const std::string which_cpus = given.text("--cpus", "both");
  given.finish();
  std::signal(SIGPIPE, SIG_IGN);  // of the others
  const double line = bench::line_round_trip_ns();
  fmt::print("CPUs: {}; a cache line there and back takes {:.0f} ns ({})\n", bench::allowed_cpus().size(), line,
             bench::distance(line));
  std::string rows;
  std::vector<std::unique_ptr<pairing>> pairs;
  for (const entry& e : entries) pairs.push_back(std::make_unique<pairing>(e.make()));
  for (const auto& p : pairs) p->begin();
  const std::vector<int> cpus = bench::allowed_cpus();
  if (which_cpus != "one") measure(pairs, sizes, rounds, python_program, "unpinned", rows);
  for (const auto& p : pairs) bench::pin({cpus.front()}, p->pid());
  bench::pin({cpus.front()});
  if (which_cpus != "all") measure(pairs, sizes, rounds, python_program, "one CPU", rows);
  bench::pin(cpus);
  bench::write_file(json, "{\"rows\": [\n  " + rows + "\n]}\n");
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_channel", run, argc, argv); }
