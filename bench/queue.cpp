// Messages there and back, and one way, between processes: queue<T> beside pipes, unix sockets, POSIX message queues,
// Boost.Interprocess, ZeroMQ and nng; a ring that only spins and one that only sleeps are the limits.
//
//   bench_queue [--rounds 5] [--json FILE]
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#if TANDEM_BENCH_ZMQ
#include <zmq.h>
#endif
#if TANDEM_BENCH_NNG
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#endif

#include <array>
#include <bit>
#include <csignal>
#include <exception>
#include <memory>
#include <optional>
#include <span>

#include <tandem/tandem.hpp>

#include "measure.hpp"

namespace {

using bytes = std::span<std::byte>;

void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + " failed");
}

/// One way from any who have it to any who have it; made before the processes are forked.
class lane {
 public:
  lane() = default;
  lane(const lane&) = delete;
  lane& operator=(const lane&) = delete;
  virtual ~lane() = default;
  /// In each process, before it is used, once all are forked.
  virtual void begin(bool pushes) { static_cast<void>(pushes); }
  virtual void push(bytes) = 0;
  virtual void pop(bytes) = 0;
};

// ---- the kernel's -----------------------------------------------------------------------------------------------------

class stream_lane final : public lane {
 public:
  explicit stream_lane(bool pipe) {
    require(pipe ? ::pipe2(ends_.data(), O_CLOEXEC) == 0
                 : ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) == 0,
            "pipe2");
  }
  ~stream_lane() override {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void push(bytes all) override {
    while (!all.empty()) all = all.subspan(moved(::write(ends_[1], all.data(), all.size())));
  }
  void pop(bytes all) override {
    while (!all.empty()) all = all.subspan(moved(::read(ends_[0], all.data(), all.size())));
  }

 private:
  static std::size_t moved(ssize_t n) {
    require(n > 0, "read or write");
    return static_cast<std::size_t>(n);
  }
  std::array<int, 2> ends_{};
};

std::string own_name(const char* kind) {
  static int number = 0;
  return fmt::format("/tandem-bench-{}-{}-{}", kind, ::getpid(), number++);
}

class mq_lane final : public lane {
 public:
  explicit mq_lane(std::size_t size) {
    const std::string name = own_name("mq");
    mq_attr attributes{};
    attributes.mq_maxmsg = 10;
    attributes.mq_msgsize = static_cast<long>(size);
    queue_ = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    require(queue_ >= 0, "mq_open");
    ::mq_unlink(name.c_str());
  }
  ~mq_lane() override { ::mq_close(queue_); }
  void push(bytes m) override {
    require(::mq_send(queue_, reinterpret_cast<const char*>(m.data()), m.size(), 0) == 0, "mq_send");
  }
  void pop(bytes m) override {
    require(::mq_receive(queue_, reinterpret_cast<char*>(m.data()), m.size(), nullptr) >= 0, "mq_receive");
  }

 private:
  mqd_t queue_;
};

// ---- others -------------------------------------------------------------------------------------------------------------

class boost_lane final : public lane {
  using queue = boost::interprocess::message_queue;

 public:
  boost_lane(std::size_t size, std::size_t capacity) : name_(own_name("boost").substr(1)) {
    queue_.emplace(boost::interprocess::create_only, name_.c_str(), capacity, size);
    queue::remove(name_.c_str());
  }
  void push(bytes m) override { queue_->send(m.data(), m.size(), 0); }
  void pop(bytes m) override {
    queue::size_type size = 0;
    unsigned priority = 0;
    queue_->receive(m.data(), m.size(), size, priority);
  }

 private:
  std::string name_;
  std::optional<queue> queue_;
};

#if TANDEM_BENCH_ZMQ
class zmq_lane final : public lane {
 public:
  zmq_lane() : address_("ipc:///tmp" + own_name("zmq")) {}
  ~zmq_lane() override {
    if (socket_ != nullptr) ::zmq_close(socket_);
    if (context_ != nullptr) ::zmq_ctx_destroy(context_);
  }
  void begin(bool pushes) override {
    context_ = ::zmq_ctx_new();
    socket_ = ::zmq_socket(context_, ZMQ_PAIR);
    const int now = 0;
    ::zmq_setsockopt(socket_, ZMQ_LINGER, &now, sizeof now);
    require((pushes ? ::zmq_bind(socket_, address_.c_str()) : ::zmq_connect(socket_, address_.c_str())) == 0, "zmq");
  }
  void push(bytes m) override { require(::zmq_send(socket_, m.data(), m.size(), 0) >= 0, "zmq_send"); }
  void pop(bytes m) override { require(::zmq_recv(socket_, m.data(), m.size(), 0) >= 0, "zmq_recv"); }

 private:
  std::string address_;
  void* context_ = nullptr;
  void* socket_ = nullptr;
};
#endif

#if TANDEM_BENCH_NNG
class nng_lane final : public lane {
 public:
  nng_lane() : address_("ipc:///tmp" + own_name("nng")) {}
  ~nng_lane() override { ::nng_close(socket_); }
  void begin(bool pushes) override {
    require(::nng_pair0_open(&socket_) == 0, "nng_pair0_open");
    ::nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0);
    require((pushes ? ::nng_listen(socket_, address_.c_str(), nullptr, 0)
                    : ::nng_dial(socket_, address_.c_str(), nullptr, NNG_FLAG_NONBLOCK)) == 0,
            "nng");
  }
  void push(bytes m) override { require(::nng_send(socket_, m.data(), m.size(), 0) == 0, "nng_send"); }
  void pop(bytes m) override {
    std::size_t size = m.size();
    require(::nng_recv(socket_, m.data(), &size, 0) == 0, "nng_recv");
  }

 private:
  std::string address_;
  nng_socket socket_{};
};
#endif

// ---- the limits -----------------------------------------------------------------------------------------------------------

/// Slots with a sequence number, for one who pushes and one who pops; waits by spinning, or by a futex alone.
class raw_lane final : public lane {
 public:
  raw_lane(std::size_t size, std::size_t capacity, bool sleeps)
      : size_(size), capacity_(std::bit_ceil(capacity)), stride_((size + 64 + 63) / 64 * 64), sleeps_(sleeps) {
    memory_ = static_cast<std::byte*>(
        ::mmap(nullptr, capacity_ * stride_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
    require(memory_ != MAP_FAILED, "mmap");
  }
  ~raw_lane() override { ::munmap(memory_, capacity_ * stride_); }
  void push(bytes m) override {
    std::atomic<std::uint32_t>& turn = at(tail_);
    const auto round = static_cast<std::uint32_t>(2 * (tail_ / capacity_));
    wait(turn, round);
    std::memcpy(payload(tail_++), m.data(), m.size());
    go(turn, round + 1);
  }
  void pop(bytes m) override {
    std::atomic<std::uint32_t>& turn = at(head_);
    const auto round = static_cast<std::uint32_t>(2 * (head_ / capacity_) + 1);
    wait(turn, round);
    std::memcpy(m.data(), payload(head_++), m.size());
    go(turn, round + 1);
  }

 private:
  std::byte* slot(std::size_t i) const { return memory_ + i % capacity_ * stride_; }
  std::atomic<std::uint32_t>& at(std::size_t i) const {
    return *reinterpret_cast<std::atomic<std::uint32_t>*>(slot(i));
  }
  std::atomic<std::uint32_t>& sleeper(std::size_t i) const { return (&at(i))[1]; }
  std::byte* payload(std::size_t i) const { return slot(i) + (size_ > 48 ? 64 : 8); }
  void wait(std::atomic<std::uint32_t>& turn, std::uint32_t round) {
    for (;;) {
      const std::uint32_t seen = turn.load(std::memory_order_acquire);
      if (seen == round) return;
      if (!sleeps_) {
        __builtin_ia32_pause();
        continue;
      }
      (&turn)[1].store(1);
      if (turn.load() == seen) ::syscall(SYS_futex, &turn, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
  }
  void go(std::atomic<std::uint32_t>& turn, std::uint32_t round) {
    turn.exchange(round);
    if (sleeps_ && (&turn)[1].load() != 0 && (&turn)[1].exchange(0) != 0)
      ::syscall(SYS_futex, &turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  std::size_t size_, capacity_, stride_;
  bool sleeps_;
  std::byte* memory_ = nullptr;
  std::size_t tail_ = 0, head_ = 0;
};

// ---- tandem ---------------------------------------------------------------------------------------------------------------

template <std::size_t N>
class queue_lane final : public lane {
  using message = std::array<std::byte, N>;

 public:
  explicit queue_lane(std::size_t capacity) : queue_(capacity) {}
  void push(bytes m) override {
    static message copy;
    std::memcpy(copy.data(), m.data(), std::min<std::size_t>(N, 8));
    queue_.push(copy);
  }
  void pop(bytes m) override {
    const auto got = queue_.pop();
    std::memcpy(m.data(), got->data(), std::min<std::size_t>(N, 8));
  }

 private:
  tandem::queue<message> queue_;
};

/// Written into its place, and read there.
template <std::size_t N>
class loan_lane final : public lane {
  using message = std::array<std::byte, N>;

 public:
  explicit loan_lane(std::size_t capacity) : queue_(capacity) {}
  void push(bytes m) override {
    auto place = queue_.loan();
    std::memcpy(place->data(), m.data(), N);
    place.push();
  }
  void pop(bytes m) override {
    const auto view = queue_.view();
    std::memcpy(m.data(), (*view)->data(), 1);
  }

 private:
  tandem::queue<message> queue_;
};

class vector_lane final : public lane {
 public:
  vector_lane(std::size_t size, std::size_t capacity) : queue_(capacity, {.bytes = capacity * (size + 64)}) {}
  void push(bytes m) override { queue_.push({m.begin(), m.end()}); }
  void pop(bytes m) override {
    const auto got = queue_.pop();
    std::memcpy(m.data(), got->data(), std::min<std::size_t>(got->size(), 8));
  }

 private:
  tandem::queue<std::vector<std::byte>> queue_;
};

// ---- parties ----------------------------------------------------------------------------------------------------------------

struct order {
  int count = 0;
  bool back = false;
};

/// Two processes and two lanes.
class pairing {
 public:
  pairing(std::size_t size, const std::function<std::unique_ptr<lane>()>& make)
      : size_(size), to_(make()), back_(make()), memory_(size) {
    int tell[2];
    require(::pipe2(tell, O_CLOEXEC) == 0, "pipe2");
    tell_ = tell[1];
    partner_ = tandem::process(tandem::fork_options{.name = "partner", .allow_threads = true}, [this, tell] {
      ::close(tell[1]);
      serve(tell[0]);
    });
    ::close(tell[0]);
  }
  pairing(const pairing&) = delete;
  pairing& operator=(const pairing&) = delete;
  ~pairing() {
    ::close(tell_);
    partner_.kill();
    partner_.join();
  }
  void begin() {
    to_->begin(true);
    back_->begin(false);
  }
  pid_t pid() const { return partner_.id(); }
  /// µs for one message.
  double run(int count, bool back) {
    const order o{count, back};
    require(::write(tell_, &o, sizeof o) == sizeof o, "write");
    const auto start = bench::steady::now();
    for (int i = 0; i < count; ++i) {
      to_->push(memory_);
      if (back) back_->pop(memory_);
    }
    if (!back) back_->pop(memory_);
    return bench::micros_since(start) / count;
  }

 private:
  void serve(int orders) {
    to_->begin(false);
    back_->begin(true);
    for (order o; ::read(orders, &o, sizeof o) == sizeof o;) {
      for (int i = 0; i < o.count; ++i) {
        to_->pop(memory_);
        if (o.back) back_->push(memory_);
      }
      if (!o.back) back_->push(memory_);
    }
  }

  std::size_t size_;
  std::unique_ptr<lane> to_, back_;
  std::vector<std::byte> memory_;
  int tell_ = -1;
  tandem::process<void> partner_;
};

/// Two push, two pop, each of them a process of its own.
class quartet {
 public:
  quartet(std::size_t size, std::unique_ptr<lane> made) : lane_(std::move(made)), memory_(size) {
    require(::pipe2(done_, O_CLOEXEC) == 0, "pipe2");
    for (int i = 0; i < 4; ++i) {
      int tell[2];
      require(::pipe2(tell, O_CLOEXEC) == 0, "pipe2");
      tell_[i] = tell[1];
      parties_.push_back(tandem::process(tandem::fork_options{.name = "party", .allow_threads = true}, [this, tell, i] {
        lane_->begin(i < 2);
        for (order o; ::read(tell[0], &o, sizeof o) == sizeof o;) {
          for (int n = 0; n < o.count; ++n) i < 2 ? lane_->push(memory_) : lane_->pop(memory_);
          if (i >= 2) require(::write(done_[1], "x", 1) == 1, "write");
        }
      }));
      ::close(tell[0]);
    }
  }
  quartet(const quartet&) = delete;
  quartet& operator=(const quartet&) = delete;
  ~quartet() {
    for (auto& p : parties_) p.kill();
    for (auto& p : parties_) p.join();
    for (const int fd : tell_) ::close(fd);
    for (const int fd : done_) ::close(fd);
  }
  void pin(const std::vector<int>& cpus) const {
    for (const auto& p : parties_) bench::pin(cpus, p.id());
  }
  /// µs for one message, of `count` that each pushes.
  double run(int count) {
    const order o{count, false};
    const auto start = bench::steady::now();
    for (const int fd : tell_) require(::write(fd, &o, sizeof o) == sizeof o, "write");
    for (int left = 2; left > 0; --left) {
      char byte = 0;
      require(::read(done_[0], &byte, 1) == 1, "read");
    }
    return bench::micros_since(start) / (2.0 * count);
  }

 private:
  std::unique_ptr<lane> lane_;
  std::vector<std::byte> memory_;
  int done_[2]{};
  int tell_[4]{};
  std::vector<tandem::process<void>> parties_;
};

// ---- the report ---------------------------------------------------------------------------------------------------------------

struct entry {
  std::string name;
  std::function<std::unique_ptr<lane>()> make;
  bool many = false;  // to many
};

template <std::size_t N>
std::vector<entry> entries() {
  static constexpr std::size_t capacity = N >= 65536 ? 16 : 64;
  std::vector<entry> all {
    {"ring that spins", [] { return std::make_unique<raw_lane>(N, capacity, false); }},
        {"ring that sleeps", [] { return std::make_unique<raw_lane>(N, capacity, true); }},
        {"tandem queue", [] { return std::make_unique<queue_lane<N>>(capacity); }, true},
        {"tandem queue of vectors", [] { return std::make_unique<vector_lane>(N, capacity); }, true},
        {"pipe", [] { return std::make_unique<stream_lane>(true); }, N <= 4096},
        {"unix socket", [] { return std::make_unique<stream_lane>(false); }},
        {"POSIX mq", [] { return std::make_unique<mq_lane>(N); }, true},
        {"Boost.Interprocess", [] { return std::make_unique<boost_lane>(N, capacity); }, true},
#if TANDEM_BENCH_ZMQ
        {"ZeroMQ ipc PAIR", [] { return std::make_unique<zmq_lane>(); }},
#endif
#if TANDEM_BENCH_NNG
        {"nng ipc pair", [] { return std::make_unique<nng_lane>(); }},
#endif
  };
  if (N >= 4096) all.push_back({"tandem loan", [] { return std::make_unique<loan_lane<N>>(capacity); }, true});
  return all;
}

struct report {
  int rounds = 5;
  std::string where;
  std::string json = {};

  void print(std::vector<bench::contestant>& all, std::size_t size, const char* what) {
    fmt::print("\n{}, {} B, {}: µs each, median of {} rounds (least .. most)\n", where, size, what, rounds);
    for (const bench::contestant& c : all) {
      fmt::print("  {:<24}{:>10.3f}  ({:.3f} .. {:.3f})\n", c.name, c.mid(), c.least(), c.most());
      json += (json.empty() ? "" : ",\n  ") + bench::json_of(c, fmt::format("{} {} {}", where, size, what), 0);
    }
    std::fflush(stdout);
  }
};

// So many that a turn takes some 15 ms.
template <class Run>
int count_for(Run run) {
  run(20);
  const double each = run(20);
  return static_cast<int>(std::clamp(15'000 / each, 20.0, 50'000.0));
}

template <std::size_t N>
void measure_pairs(report& r, const std::vector<int>& cpus) {
  std::vector<std::unique_ptr<pairing>> pairs;
  std::vector<std::string> names;
  for (const entry& e : entries<N>()) {
    if (cpus.size() == 1 && e.name == "ring that spins") continue;
    try {
      pairs.push_back(std::make_unique<pairing>(N, e.make));
      names.push_back(e.name);
    } catch (const std::exception& error) {
      fmt::print("  {} is left out: {}\n", e.name, error.what());
    }
  }
  for (auto& p : pairs) bench::pin(cpus, p->pid());
  for (auto& p : pairs) p->begin();
  bench::pin(cpus);
  for (const bool back : {true, false}) {
    std::vector<bench::contestant> all;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      pairing* const p = pairs[i].get();
      const int count = count_for([&](int n) { return p->run(n, back); });
      all.push_back({names[i], [=] { return p->run(count, back); }});
    }
    if (N == std::size_t{1} << 20 && !back) {
      auto from = std::make_shared<std::vector<std::byte>>(16 * N),
           to = std::make_shared<std::vector<std::byte>>(16 * N);
      all.push_back({"memcpy", [=] {
                       const auto start = bench::steady::now();
                       for (std::size_t i = 0; i < 64; ++i)
                         std::memcpy(to->data() + i % 16 * N, from->data() + i % 16 * N, N);
                       return bench::micros_since(start) / 64;
                     }});
    }
    bench::interleave(all, r.rounds);
    r.print(all, N, back ? "there and back" : "one way");
  }
}

template <std::size_t N>
void measure_many(report& r, const std::vector<int>& cpus) {
  std::vector<std::unique_ptr<quartet>> sets;
  std::vector<bench::contestant> all;
  for (const entry& e : entries<N>()) {
    if (!e.many) continue;
    try {
      sets.push_back(std::make_unique<quartet>(N, e.make()));
    } catch (const std::exception& error) {
      fmt::print("  {} is left out: {}\n", e.name, error.what());
      continue;
    }
    quartet* const q = sets.back().get();
    q->pin(cpus);
    const int count = count_for([&](int n) { return q->run(n); });
    all.push_back({e.name, [=] { return q->run(count); }});
  }
  bench::interleave(all, r.rounds);
  r.print(all, N, "two to two");
}

template <std::size_t... N>
void measure(report& r, const std::vector<int>& cpus, bool many) {
  (measure_pairs<N>(r, cpus), ...);
  if (many) (measure_many<N>(r, cpus), ...);
}

void run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  report r{given.number("--rounds", 5), ""};
  const std::string json = given.text("--json", "");
  given.finish();
  std::signal(SIGPIPE, SIG_IGN);  // of the others
  const std::vector<int> cpus = bench::allowed_cpus();
  const double line = bench::line_round_trip_ns();
  fmt::print("CPUs: {}; a cache line there and back takes {:.0f} ns ({})\n", cpus.size(), line, bench::distance(line));
  r.where = fmt::format("{} CPUs", cpus.size());
  measure<8, 64, 4096, 65536, std::size_t{1} << 20>(r, cpus, true);
  r.where = "one CPU";
  measure<64, 4096>(r, {cpus.front()}, true);
  bench::pin(cpus);
  r.where = "beside a busy program";
  tandem::process busy(tandem::fork_options{.name = "busy", .allow_threads = true}, [] {
    for (volatile unsigned i = 0;; i = i + 1) {
    }
  });
  measure<64>(r, cpus, false);
  busy.kill();
  busy.join();
  bench::write_file(json, "{\"rows\": [\n  " + r.json + "\n]}\n");
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  try {
    run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_queue: {}\n", e.what());
    return 1;
  }
}
