// Messages there and back, one way, and of two to two: queue<T> beside pipes, unix sockets, POSIX message queues,
// Boost.Interprocess, ZeroMQ, nng and iceoryx between processes, and oneTBB and moodycamel's queue between threads; a ring that only
// spins and one that only sleeps are the limits.
//
//   bench_queue [--short 1] [--rounds 7] [--sizes 8,64,4096,65536,1048576] [--where apart,one,free,busy] [--json FILE]
//
// Each contestant is a fresh image of this program (--stage), which forks its partner before it uses any library: some
// refuse to be forked once used. The stages of a table sleep while it is not their turn.
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <exception>
#include <map>
#include <sstream>

#include "queue_lanes.hpp"

namespace {

using namespace bench;

// ---- contestants
// -----------------------------------------------------------------------------------------------------

enum class kind { limit, ours, peer, our_threads, threads };

struct entry {
  std::string name;
  kind what;
  std::function<std::unique_ptr<lane>()> make;
  bool many = false;  // can be used by two to two
  bool spins = true;
};

template <std::size_t N>
std::vector<entry> entries() {
  static constexpr std::size_t capacity = N >= 65536 ? 16 : 64;
  const auto ours = [] { return std::make_unique<queue_lane<N>>(capacity); };
  std::vector<entry> all {
    {"ring that spins", kind::limit, [] { return std::make_unique<raw_lane>(N, capacity, false); }},
        {"ring that sleeps", kind::limit, [] { return std::make_unique<raw_lane>(N, capacity, true); }, false, false},
        {"tandem queue", kind::ours, ours, true}, {"tandem, never spins", kind::ours, ours, true, false},
        {"tandem, vectors", kind::ours, [] { return std::make_unique<vector_lane>(N, capacity); }, true},
        {"pipe", kind::peer, [] { return std::make_unique<stream_lane>(true); }, N <= 4096},
        {"unix socket", kind::peer, [] { return std::make_unique<stream_lane>(false); }},
        {"POSIX mq", kind::peer, [] { return std::make_unique<mq_lane>(N); }, true},
        {"Boost.Interprocess", kind::peer, [] { return std::make_unique<boost_lane>(N, capacity); }, true},
#if TANDEM_BENCH_ZMQ
        {"ZeroMQ ipc PAIR", kind::peer, [] { return std::make_unique<zmq_lane>(); }},
#endif
#if TANDEM_BENCH_NNG
        {"nng ipc pair", kind::peer, [] { return std::make_unique<nng_lane>(); }},
#endif
#if TANDEM_BENCH_ICEORYX
        {"iceoryx, polls", kind::peer, [] { return std::make_unique<iceoryx_lane>(N, false); }},
        {"iceoryx, WaitSet", kind::peer, [] { return std::make_unique<iceoryx_lane>(N, true); }},
#endif
        {"threads: tandem queue", kind::our_threads, ours, true},
#if TANDEM_BENCH_TBB
        {"threads: oneTBB", kind::threads, [] { return std::make_unique<tbb_lane<N>>(capacity); }, true},
#endif
  };
#if TANDEM_BENCH_MOODYCAMEL
  if constexpr (N <= 4096)  // without a bound, it would take what memory there is
    all.push_back({"threads: moodycamel", kind::threads, [] { return std::make_unique<moodycamel_lane<N>>(); }, true});
#endif
  if constexpr (N >= 4096)
    all.push_back({"tandem, loan", kind::ours, [] { return std::make_unique<loan_lane<N>>(capacity); }, true});
  return all;
}

std::vector<entry> entries_of(std::size_t size) {
  switch (size) {
    case 8: return entries<8>();
    case 64: return entries<64>();
    case 4096: return entries<4096>();
    case 65536: return entries<65536>();
    case 1 << 20: return entries<1 << 20>();
    default: throw std::invalid_argument("no such size: " + std::to_string(size));
  }
}

enum class pattern { back, one_way, many };

enum class way { there, there_and_back, back };

struct order {
  int count = 0;
  way which = way::there;
};

// ---- one contestant, in an image of its own
// --------------------------------------------------------------------------

/// A thread or a process that does what it is told through a pipe.
class party {
 public:
  /// `serve` gets the end from which it reads its orders; it returns when there will be none.
  template <class F>
  party(bool is_thread, F serve) {
    int ends[2];
    require(::pipe2(ends, O_CLOEXEC) == 0, "pipe2");
    tell_ = ends[1];
    orders_ = ends[0];
    if (is_thread) {
      thread_ = std::thread([serve, from = orders_] { serve(from); });
    } else {
      process_ = tandem::process(tandem::fork_options{.name = "party", .allow_threads = true}, [serve, ends] {
        ::close(ends[1]);
        serve(ends[0]);
      });
    }
  }
  party(const party&) = delete;
  party& operator=(const party&) = delete;
  ~party() {
    ::close(tell_);
    if (thread_.joinable()) {
      thread_.join();
    } else {
      process_.kill();
      process_.join();
    }
    ::close(orders_);
  }
  void tell(const order& o) const { require(::write(tell_, &o, sizeof o) == sizeof o, "write"); }

 private:
  int tell_ = -1, orders_ = -1;
  std::thread thread_;
  tandem::process<void> process_;
};

class stage {
 public:
  stage() = default;
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;
  virtual ~stage() = default;
  /// µs for one message.
  virtual double run(const order&) = 0;
};

void pin_party(const std::vector<int>& cpus, std::size_t number) {
  if (!cpus.empty()) pin({cpus[number % cpus.size()]});
}

/// This thread and another, or another process, and two lanes.
class pair_stage final : public stage {
 public:
  pair_stage(std::size_t size, const entry& e, const std::vector<int>& cpus)
      : to_(e.make()), back_(e.make()), memory_(size) {
    const bool is_thread = e.what == kind::threads || e.what == kind::our_threads;
    partner_ = std::make_unique<party>(is_thread, [this, cpus, size](int orders) {
      pin_party(cpus, 1);
      to_->begin(false);
      back_->begin(true);
      std::vector<std::byte> own(size);
      for (order o; ::read(orders, &o, sizeof o) == sizeof o;) serve(o, own);
    });
    pin_party(cpus, 0);
    to_->begin(true);
    back_->begin(false);
  }
  double run(const order& o) override {
    partner_->tell(o);
    const auto start = steady::now();
    for (int i = 0; i < o.count; ++i) {
      if (o.which != way::back) to_->push(memory_);
      if (o.which != way::there) back_->pop(memory_);
    }
    if (o.which == way::there) back_->pop(memory_);
    return micros_since(start) / o.count;
  }

 private:
  void serve(const order& o, bytes own) {
    for (int i = 0; i < o.count; ++i) {
      if (o.which != way::back) to_->pop(own);
      if (o.which != way::there) back_->push(own);
    }
    if (o.which == way::there) back_->push(own);
  }

  std::unique_ptr<lane> to_, back_;
  std::vector<std::byte> memory_;
  std::unique_ptr<party> partner_;
};

/// Two push, two pop.
class many_stage final : public stage {
 public:
  many_stage(std::size_t size, const entry& e, const std::vector<int>& cpus) : lane_(e.make()) {
    require(::pipe2(done_, O_CLOEXEC) == 0, "pipe2");
    const bool is_thread = e.what == kind::threads || e.what == kind::our_threads;
    for (std::size_t i = 0; i < 4; ++i) {
      parties_.push_back(std::make_unique<party>(is_thread, [this, cpus, size, i](int orders) {
        pin_party(cpus, i);
        lane_->begin(i < 2);
        std::vector<std::byte> own(size);
        for (order o; ::read(orders, &o, sizeof o) == sizeof o;) {
          for (int n = 0; n < o.count; ++n) i < 2 ? lane_->push(own) : lane_->pop(own);
          if (i >= 2) require(::write(done_[1], "x", 1) == 1, "write");
        }
      }));
    }
  }
  ~many_stage() override {
    parties_.clear();
    for (const int fd : done_) ::close(fd);
  }
  double run(const order& o) override {
    const auto start = steady::now();
    for (const auto& p : parties_) p->tell(o);
    for (int left = 2; left > 0; --left) {
      char byte = 0;
      require(::read(done_[0], &byte, 1) == 1, "read");
    }
    return micros_since(start) / (2.0 * o.count);
  }

 private:
  std::unique_ptr<lane> lane_;
  int done_[2]{};
  std::vector<std::unique_ptr<party>> parties_;
};

std::vector<int> numbers_in(const std::string& text) {
  std::vector<int> all;
  std::stringstream in(text);
  for (std::string one; std::getline(in, one, ',');) all.push_back(std::stoi(one));
  return all;
}

constexpr int orders_in = 3, answers_out = 4;

/// What a fresh image does: it says when it is there, and then how long each order took.
void be_a_stage(const std::string& name, arguments& given) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto size = static_cast<std::size_t>(given.number("--size", 64));
  const bool many = given.number("--many", 0) != 0;
  const std::vector<int> cpus = numbers_in(given.text("--cpus", ""));
  given.finish();
  tandem::init();
  std::signal(SIGPIPE, SIG_IGN);  // of the others
  for (const entry& e : entries_of(size)) {
    if (e.name != name) continue;
    std::unique_ptr<stage> made;
    if (many) {
      made = std::make_unique<many_stage>(size, e, cpus);
    } else {
      made = std::make_unique<pair_stage>(size, e, cpus);
    }
    // Twice through the largest of the rings: the first time each page of it has to be mapped.
    const int laps = static_cast<int>(std::clamp<std::size_t>((std::size_t{8} << 20) / size, 32, 2200));
    made->run({laps, way::back});
    double answer = made->run({laps, way::there});
    do {
      require(::write(answers_out, &answer, sizeof answer) == sizeof answer, "write");
      order o;
      if (::read(orders_in, &o, sizeof o) != sizeof o) return;
      answer = made->run(o);
    } while (true);
  }
  throw std::invalid_argument("no contestant " + name);
}

/// One of those, as the program that measures has it.
class running_stage {
 public:
  running_stage(const entry& e, std::size_t size, bool many, const std::string& cpus) {
    int there[2], back[2];
    require(::pipe2(there, O_CLOEXEC) == 0 && ::pipe2(back, O_CLOEXEC) == 0, "pipe2");
    // Out of the way of the numbers that the image gets them under.
    const int orders = ::fcntl(there[0], F_DUPFD_CLOEXEC, 10), answers = ::fcntl(back[1], F_DUPFD_CLOEXEC, 10);
    orders_ = ::fcntl(there[1], F_DUPFD_CLOEXEC, 10);
    answers_ = ::fcntl(back[0], F_DUPFD_CLOEXEC, 10);
    for (const int fd : {there[0], there[1], back[0], back[1]}) ::close(fd);
    std::vector<std::string> words{"bench_queue",        "--stage", e.name,          "--size",
                                   std::to_string(size), "--many",  many ? "1" : "0"};
    if (!cpus.empty()) words.insert(words.end(), {"--cpus", cpus});
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, orders, orders_in);
    ::posix_spawn_file_actions_adddup2(&actions, answers, answers_out);
    if (!e.spins) ::setenv("TANDEM_SPIN_US", "0", 1);
    const int failed = ::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    ::unsetenv("TANDEM_SPIN_US");
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(orders);
    ::close(answers);
    require(failed == 0, "posix_spawn");
    answer();
  }
  running_stage(const running_stage&) = delete;
  running_stage& operator=(const running_stage&) = delete;
  ~running_stage() {
    ::close(orders_);
    ::close(answers_);
    ::waitpid(pid_, nullptr, 0);
  }
  double run(int count, bool back) const {
    const order o{count, back ? way::there_and_back : way::there};
    require(::write(orders_, &o, sizeof o) == sizeof o, "write");
    return answer();
  }

 private:
  double answer() const {
    double micros = 0;
    require(::read(answers_, &micros, sizeof micros) == sizeof micros, "the contestant");
    return micros;
  }
  int orders_ = -1, answers_ = -1;
  pid_t pid_ = -1;
};

// ---- tables
// ----------------------------------------------------------------------------------------------------------

struct place {
  std::string name;
  std::string cpus;       // for the one and the other of a pair; empty: anywhere
  std::string many_cpus;  // for two to two
  bool one_cpu = false;
};

struct plan {
  int rounds = 7;
  double turn_us = 15'000;
  std::string json = {};
};

struct seat {
  entry e;
  std::unique_ptr<running_stage> at;
};

std::vector<seat> seats(std::size_t size, const place& where, bool many) {
  std::vector<seat> all;
  for (const entry& e : entries_of(size)) {
    if ((many && !e.many) || (where.one_cpu && e.name == "ring that spins")) continue;
    try {
      all.push_back({e, std::make_unique<running_stage>(e, size, many, many ? where.many_cpus : where.cpus)});
    } catch (const std::exception&) {  // it has said what it is
      fmt::print("  {} is left out at {} B\n", e.name, size);
    }
  }
  return all;
}

/// So many that a turn takes as long as it should.
int count_for(const running_stage& s, bool back, double turn_us) {
  constexpr int least = 20, most = 400'000;
  for (int count = least;; count *= 4) {
    const double each = std::min(s.run(count, back), s.run(count, back));  // who was held up once would get too few
    if (each * count >= turn_us / 4 || count * 4 > most)
      return static_cast<int>(std::clamp(turn_us / each, double{least}, double{most}));
  }
}

const contestant* best_of(const std::vector<contestant>& all, const std::map<std::string, kind>& kinds, kind wanted) {
  const contestant* best = nullptr;
  for (const contestant& c : all) {
    const auto found = kinds.find(c.name);
    if (found != kinds.end() && found->second == wanted && (best == nullptr || c.mid() < best->mid())) best = &c;
  }
  return best;
}

const contestant* find(const std::vector<contestant>& all, std::string_view name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const contestant& c) { return c.name == name; });
  return found == all.end() ? nullptr : &*found;
}

void say_ratio(const contestant* a, const contestant* b, const char* asked) {
  if (a == nullptr || b == nullptr) return;
  std::vector<double> each = ratios(*a, *b);
  const auto [least, most] = std::minmax_element(each.begin(), each.end());
  fmt::print("    {} / {}: {:.2f} ({:.2f} .. {:.2f}){}\n", a->name, b->name, median(each), *least, *most, asked);
}

void say_ratios(const std::vector<contestant>& all, const std::map<std::string, kind>& kinds, std::size_t size,
                const place& where, pattern p) {
  const contestant* const queue = find(all, "tandem queue");
  const contestant* const peer = best_of(all, kinds, kind::peer);
  const bool apart = where.name == "apart";
  if (p == pattern::back) {
    const contestant* asleep = find(all, "ring that sleeps");
    for (const char* other : {"pipe", "POSIX mq"}) {
      const contestant* const c = find(all, other);
      if (c != nullptr && c->mid() < asleep->mid()) asleep = c;
    }
    say_ratio(queue, find(all, "ring that spins"), apart ? "; asked for: at most 1.5" : "");
    say_ratio(where.one_cpu ? queue : find(all, "tandem, never spins"), asleep, "; asked for: at most 1.1");
    say_ratio(peer, queue, "");
  } else {
    say_ratio(peer, queue,
              !apart || p == pattern::many ? ""
              : size <= 64                 ? "; asked for: at least 2"
              : size < (1 << 20)           ? "; asked for: at least 1.25"
                                           : "");
    say_ratio(peer, find(all, "tandem, loan"), "");
    say_ratio(find(all, "memcpy"), find(all, "tandem, loan"), "; asked for: at least 0.8");
  }
  say_ratio(best_of(all, kinds, kind::threads), find(all, "threads: tandem queue"), "");
}

contestant plain_copy(std::size_t size) {
  auto from = std::make_shared<std::vector<std::byte>>(16 * size),
       to = std::make_shared<std::vector<std::byte>>(16 * size);
  return {"memcpy", [=] {
            const auto start = steady::now();
            for (std::size_t i = 0; i < 64; ++i)
              std::memcpy(to->data() + i % 16 * size, from->data() + i % 16 * size, size);
            return micros_since(start) / 64;
          }};
}

void measure(plan& pl, std::size_t size, const place& where, pattern p, const std::vector<seat>& sitting) {
  std::vector<contestant> all;
  std::map<std::string, kind> kinds;
  for (const seat& s : sitting) {
    const int count = count_for(*s.at, p == pattern::back, pl.turn_us);
    const running_stage* const at = s.at.get();
    all.push_back({s.e.name, [=] { return at->run(count, p == pattern::back); }});
    kinds.emplace(s.e.name, s.e.what);
  }
  if (size == 1 << 20 && p == pattern::one_way) all.push_back(plain_copy(size));
  interleave(all, pl.rounds);
  const char* const what = p == pattern::back ? "there and back" : p == pattern::one_way ? "one way" : "two to two";
  fmt::print("\n{}, {} B, {}: µs each, median of {} rounds (least .. most)\n", where.name, size, what, pl.rounds);
  for (const contestant& c : all) {
    fmt::print("  {:<24}{:>10.3f}  ({:.3f} .. {:.3f})\n", c.name, c.mid(), c.least(), c.most());
    pl.json += (pl.json.empty() ? "" : ",\n  ") + json_of(c, fmt::format("{} {} {}", where.name, size, what), 0);
  }
  say_ratios(all, kinds, size, where, p);
  std::fflush(stdout);
}

void measure_all(plan& pl, std::size_t size, const place& where) {
  {
    const std::vector<seat> pairs = seats(size, where, false);
    measure(pl, size, where, pattern::back, pairs);
    measure(pl, size, where, pattern::one_way, pairs);
  }
  measure(pl, size, where, pattern::many, seats(size, where, true));
}

/// A program that has something to do while this lives.
class busy_neighbour {
 public:
  busy_neighbour() : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) asm volatile("");
  }
  busy_neighbour(const busy_neighbour&) = delete;
  busy_neighbour& operator=(const busy_neighbour&) = delete;
  ~busy_neighbour() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

#if TANDEM_BENCH_ICEORYX
/// What keeps the memory of iceoryx, for as long as this lives.
class iceoryx_daemon {
 public:
  iceoryx_daemon() : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::execl(TANDEM_ROUDI, TANDEM_ROUDI, "--monitoring-mode", "off", "--log-level", "off", nullptr);
    ::_exit(127);
  }
  iceoryx_daemon(const iceoryx_daemon&) = delete;
  iceoryx_daemon& operator=(const iceoryx_daemon&) = delete;
  ~iceoryx_daemon() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};
#endif

void run(int argc, char** argv) {
  arguments given(argc, argv);
  if (const std::string name = given.text("--stage", ""); !name.empty()) return be_a_stage(name, given);
  const bool is_short = given.number("--short", 0) != 0;
  plan pl{given.number("--rounds", is_short ? 3 : 7), is_short ? 4'000.0 : 15'000.0};
  const std::vector<int> sizes = numbers_in(given.text("--sizes", "8,64,4096,65536,1048576"));
  const std::string places = given.text("--where", "apart,one,free,busy");
  const std::string json = given.text("--json", "");
  given.finish();
  std::signal(SIGPIPE, SIG_IGN);
#if TANDEM_BENCH_ICEORYX
  const iceoryx_daemon while_measuring;
#endif
  const std::vector<int> cpus = allowed_cpus();
  const double line = line_round_trip_ns();
  fmt::print("CPUs: {}; a cache line there and back takes {:.0f} ns ({})\n", cpus.size(), line, distance(line));
  std::stringstream names(places);
  for (std::string name; std::getline(names, name, ',');) {
    const std::string first = std::to_string(cpus.front());
    place where{name, "", ""};
    if (name == "apart") where.cpus = fmt::format("{},{}", first, cpus.back());
    if (name == "one") where = {name, first, first, true};
    std::optional<busy_neighbour> neighbour;
    if (name == "busy") neighbour.emplace();
    for (const int size : sizes) {
      // Elsewhere than apart, large messages say nothing new.
      if (size == 64 || name == "apart" || (name == "one" && size == 4096))
        measure_all(pl, static_cast<std::size_t>(size), where);
    }
  }
  write_file(json, "{\"rows\": [\n  " + pl.json + "\n]}\n");
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_queue", run, argc, argv); }
