// Tasks there and back: a pool of processes beside a raw slot in shared memory, a futex ping-pong, and Python's pools.
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <signal.h>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <deque>

#include <tandem/tandem.hpp>

#include "measure.hpp"

namespace {

using bench::contestant;
using bench::micros_since;
using bench::steady;

struct arguments {
  std::array<long, 8> words;
};
long first_word(arguments a) { return a.words[0] + 1; }
std::vector<std::byte> same(std::vector<std::byte> bytes) { return bytes; }

// One slot in shared memory, and nothing else: what the machine allows.
struct raw_slot {
  struct shared {
    alignas(64) std::atomic<unsigned> turn{0};
    std::atomic<bool> sleeps{false};
    alignas(64) std::atomic<unsigned> asleep{0};
    arguments in{};
    long out = 0;
  };
  shared* s;
  pid_t child;
  bool spins;

  explicit raw_slot(bool spin) : spins(spin) {
    s = new (::mmap(nullptr, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) shared;
    child = ::fork();
    if (child != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned turn = 1;; turn += 2) {
      await(turn);
      s->out = first_word(s->in);
      publish(turn + 1);
    }
  }
  ~raw_slot() {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::munmap(s, sizeof(shared));
  }
  void await(unsigned value) const {
    if (spins) {
      for (int i = 0; i < 5000; ++i) {
        if (s->turn.load(std::memory_order_acquire) == value) return;
        __builtin_ia32_pause();
      }
    }
    for (unsigned seen = s->turn.load(); seen != value; seen = s->turn.load()) {
      s->asleep.fetch_add(1);
      ::syscall(SYS_futex, &s->turn, FUTEX_WAIT, seen, nullptr, nullptr, 0);
      s->asleep.fetch_sub(1);
    }
  }
  void publish(unsigned value) const {
    s->turn.exchange(value);
    if (s->asleep.load() != 0) ::syscall(SYS_futex, &s->turn, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
  unsigned next = 1;
  long call(const arguments& a) {
    s->in = a;
    publish(next);
    await(next + 1);
    next += 2;
    return s->out;
  }
};

double python(const std::string& body) {
  const std::string command = "python3 -c '" + body + "' 2>/dev/null";
  std::FILE* const out = ::popen(command.c_str(), "r");
  if (out == nullptr) return 0;
  double value = 0;
  if (std::fscanf(out, "%lf", &value) != 1) value = 0;
  ::pclose(out);
  return value;
}

const char* const python_round_trip =
    "import time,sys\n"
    "from concurrent.futures import %s as E\n"
    "def f(b): return 1\n"
    "def main():\n"
    "  with E(1) as e:\n"
    "    e.submit(f,b\"x\"*64).result()\n"
    "    t=time.perf_counter()\n"
    "    for _ in range(300): e.submit(f,b\"x\"*64).result()\n"
    "    print((time.perf_counter()-t)/300*1e6)\n"
    "main()\n";
const char* const python_pool =
    "import time\n"
    "import multiprocessing as m\n"
    "def f(b): return 1\n"
    "def main():\n"
    "  with m.Pool(1) as e:\n"
    "    e.apply(f,(b\"x\"*64,))\n"
    "    t=time.perf_counter()\n"
    "    %s\n"
    "    print((time.perf_counter()-t)/300*1e6)\n"
    "main()\n";

const char* const python_large =
    "import time\n"
    "import multiprocessing as m\n"
    "def f(b): return b\n"
    "def main():\n"
    "  b=b\"x\"*(%s<<20)\n"
    "  with m.Pool(1) as e:\n"
    "    e.apply(f,(b,))\n"
    "    t=time.perf_counter()\n"
    "    for _ in range(3): e.apply(f,(b,))\n"
    "    print((time.perf_counter()-t)/3*1e6)\n"
    "main()\n";

std::string filled(const char* format, const char* with) {
  std::string text(format);
  return text.replace(text.find("%s"), 2, with);
}

void print(const char* title, std::vector<contestant>& all, int rounds) {
  bench::interleave(all, rounds);
  fmt::print("{}\n", title);
  for (const contestant& c : all)
    fmt::print("  {:<44} {:>12.3f} us  ({:.3f} .. {:.3f})\n", c.name, c.mid(), c.least(), c.most());
}

template <class Call>
double per_call(int calls, Call call) {
  const auto start = steady::now();
  for (int i = 0; i < calls; ++i) call();
  return micros_since(start) / calls;
}

double window(tandem::process_pool& pool, int tasks) {
  std::deque<tandem::future<long>> flying;
  const arguments a{};
  const auto start = steady::now();
  for (int i = 0; i < tasks; ++i) {
    if (flying.size() == 128) {
      flying.front().get();
      flying.pop_front();
    }
    flying.push_back(pool.submit(first_word, a));
  }
  for (auto& f : flying) f.get();
  return micros_since(start) / tasks;
}

void measure_large(tandem::process_pool& pool, bool quick) {
  for (const std::size_t mib : {std::size_t{1}, std::size_t{64}}) {
    const std::vector<std::byte> bytes(mib << 20, std::byte{1});
    std::vector<std::byte> there(bytes), back(bytes);
    std::vector<contestant> large;
    large.push_back(
        {"process_pool", [&] { return per_call(mib == 1 ? 20 : 2, [&] { pool.submit(same, bytes).get(); }); }});
    large.push_back({"memcpy there and back, memory that is used again", [&] {
                       return per_call(mib == 1 ? 20 : 2, [&] {
                         std::memcpy(there.data(), bytes.data(), bytes.size());
                         std::memcpy(back.data(), there.data(), bytes.size());
                       });
                     }});
    large.push_back({"two copies of the vector, new memory", [&] {
                       return per_call(mib == 1 ? 20 : 2, [&] {
                         const std::vector<std::byte> first(bytes);
                         const std::vector<std::byte> second(first);
                       });
                     }});
    print(fmt::format("{} MiB argument and result", mib).c_str(), large, quick ? 2 : 5);
  }
}

void measure_python() {
  for (const char* mib : {"1", "64"}) {
    fmt::print("  {:<44} {:>12.3f} us\n", fmt::format("multiprocessing.Pool, {} MiB", mib),
               python(filled(python_large, mib)));
  }
  fmt::print("Python, one task there and back (64 B)\n");
  fmt::print("  {:<44} {:>12.3f} us\n", "ProcessPoolExecutor",
             python(filled(python_round_trip, "ProcessPoolExecutor")));
  fmt::print("  {:<44} {:>12.3f} us\n", "ThreadPoolExecutor", python(filled(python_round_trip, "ThreadPoolExecutor")));
  fmt::print("  {:<44} {:>12.3f} us\n", "multiprocessing.Pool.apply",
             python(filled(python_pool, "[e.apply(f,(b\"x\"*64,)) for _ in range(300)]")));
  fmt::print("  {:<44} {:>12.3f} us\n", "multiprocessing.Pool.apply_async, many",
             python(filled(python_pool, "[r.get() for r in [e.apply_async(f,(b\"x\"*64,)) for _ in range(300)]]")));
}

}  // namespace

int main(int count, char** values) {
  tandem::init();
  const bool quick = count > 1 && std::string(values[1]) == "--quick";
  const int rounds = quick ? 3 : 7;
  fmt::print("a cache line there and back between two CPUs: {:.0f} ns\n", bench::line_round_trip_ns());
  raw_slot raw(true), asleep(false);
  tandem::process_pool one({.workers = 1, .spares = 0});
  arguments a{};
  one.submit(first_word, a).get();

  std::vector<contestant> awake;
  awake.push_back({"raw slot, spinning", [&] { return per_call(20000, [&] { raw.call(a); }); }});
  awake.push_back({"process_pool", [&] { return per_call(20000, [&] { one.submit(first_word, a).get(); }); }});
  print("One task there and back, both awake", awake, rounds);

  const auto after_pause = [](auto call) {
    std::vector<double> each;
    for (int i = 0; i < 50; ++i) {
      ::usleep(300);
      const auto start = steady::now();
      call();
      each.push_back(micros_since(start));
    }
    return bench::median(each);
  };
  std::vector<contestant> idle;
  idle.push_back({"raw futex ping-pong", [&] { return after_pause([&] { asleep.call(a); }); }});
  idle.push_back({"process_pool", [&] { return after_pause([&] { one.submit(first_word, a).get(); }); }});
  print("The same after 300 us of idleness", idle, rounds);

  std::vector<contestant> many;
  many.push_back({"process_pool, 1 worker, window of 128", [&] { return window(one, 50000); }});
  print("Throughput", many, rounds);
  measure_large(one, quick);
  measure_python();
}
