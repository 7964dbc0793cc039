// Locks: what they cost free and contended, between threads and between processes; handing over; how soon a death is told.
//
//   bench_sync [--rounds 9] [--json FILE]
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>

#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/sync.hpp>

#include "measure.hpp"

namespace {

using bench::contestant;

// ---- the locks ----------------------------------------------------------------------------------------------------

void require(int failed, const char* what) {
  if (failed != 0) throw std::system_error(failed, std::generic_category(), what);
}

enum class kind { shared, robust };
template <kind Kind>
class pthread_lock {
 public:
  pthread_lock() {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (Kind == kind::robust) ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    require(::pthread_mutex_init(&mutex_, &attributes), "pthread_mutex_init");
  }
  void lock() { ::pthread_mutex_lock(&mutex_); }
  void unlock() { ::pthread_mutex_unlock(&mutex_); }
  /// Takes it from one who died, and gives it back in order.
  bool owner_died() {
    const bool died = ::pthread_mutex_lock(&mutex_) == EOWNERDEAD;
    if (died) ::pthread_mutex_consistent(&mutex_);
    ::pthread_mutex_unlock(&mutex_);
    return died;
  }

 private:
  pthread_mutex_t mutex_{};
};

class posix_semaphore {
 public:
  posix_semaphore() { ::sem_init(&semaphore_, 1, 1); }
  void lock() { ::sem_wait(&semaphore_); }
  void unlock() { ::sem_post(&semaphore_); }

 private:
  sem_t semaphore_{};
};

class sysv_semaphore {
 public:
  sysv_semaphore() : id_(::semget(IPC_PRIVATE, 1, 0600)) { change(1); }
  sysv_semaphore(const sysv_semaphore&) = delete;
  sysv_semaphore& operator=(const sysv_semaphore&) = delete;
  ~sysv_semaphore() { ::semctl(id_, 0, IPC_RMID); }
  void lock() { change(-1); }
  void unlock() { change(1); }

 private:
  void change(short by) {
    sembuf operation{0, by, SEM_UNDO};
    ::semop(id_, &operation, 1);
  }
  int id_;
};

// What all processes see: it is mapped before tandem::init(), so the workers have it at the same address.
struct common {
  std::mutex standard;
  pthread_lock<kind::shared> shared;
  pthread_lock<kind::robust> robust;
  boost::interprocess::interprocess_mutex boost;
  posix_semaphore posix;
  sysv_semaphore sysv;
  alignas(64) tandem::mutex tandem_mutex;
  alignas(64) tandem::counting_semaphore<> permits{1};
  alignas(64) tandem::shared_mutex book;
  alignas(64) std::atomic<int> ready{0};
  std::atomic<int> go{0};
  alignas(64) pthread_barrier_t pthread_barrier;
  alignas(64) tandem::barrier barrier{2};
  pthread_mutex_t talk_mutex;
  pthread_cond_t talk_changed;
  alignas(64) tandem::mutex mutex;
  tandem::condition_variable changed;
  int turn = 0;
};
common* all = nullptr;

struct permit_lock {
  void lock() const { all->permits.acquire(); }
  void unlock() const { all->permits.release(); }
};
struct reader_lock {
  void lock() const { all->book.lock_shared(); }
  void unlock() const { all->book.unlock_shared(); }
};

// About 50 ns, of no memory.
void pass_time(int turns) {
  for (int i = 0; i < turns; ++i) asm volatile("" ::: "memory");
}
int turns_of_50_ns() {
  constexpr int many = 1'000'000;
  const auto start = bench::steady::now();
  pass_time(many);
  return static_cast<int>(many * 0.05 / bench::micros_since(start));
}

template <class Lock>
void visit(Lock& lock, long times, int turns) {
  for (long i = 0; i < times; ++i) {
    lock.lock();
    pass_time(turns);
    lock.unlock();
    pass_time(turns);
  }
}

struct contender {
  const char* name;
  void (*visit)(long times, int turns);
  bool between_processes = true;
};

permit_lock permit;
reader_lock reader;
const contender contenders[] = {
    {"std::mutex", [](long n, int t) { visit(all->standard, n, t); }, false},
    {"pthread, process-shared", [](long n, int t) { visit(all->shared, n, t); }},
    {"pthread, robust", [](long n, int t) { visit(all->robust, n, t); }},
    {"Boost.Interprocess", [](long n, int t) { visit(all->boost, n, t); }},
    {"sem_t", [](long n, int t) { visit(all->posix, n, t); }},
    {"SysV semaphore", [](long n, int t) { visit(all->sysv, n, t); }},
    {"tandem::mutex", [](long n, int t) { visit(all->tandem_mutex, n, t); }},
    {"tandem::counting_semaphore", [](long n, int t) { visit(permit, n, t); }},
    {"tandem::shared_mutex, to read", [](long n, int t) { visit(reader, n, t); }},
};

// ---- free, and contended ------------------------------------------------------------------------------------------

double free_ns(const contender& c) {
  constexpr long times = 200'000;
  c.visit(1000, 0);
  const auto start = bench::steady::now();
  c.visit(times, 0);
  return bench::micros_since(start) * 1000 / times;
}

void take_part(int which, long times, int turns) {
  ++all->ready;
  while (all->go == 0) {
  }
  contenders[which].visit(times, turns);
}

template <class Unit>
double contended_ns(int which, int turns) {
  const long times = which == 5 ? 20'000 : 200'000;
  all->ready = 0;
  all->go = 0;
  Unit a(take_part, which, times, turns);
  Unit b(take_part, which, times, turns);
  while (all->ready != 2) std::this_thread::yield();
  const auto start = bench::steady::now();
  all->go = 1;
  a.join();
  b.join();
  return bench::micros_since(start) * 1000 / (2.0 * static_cast<double>(times));
}

// ---- handing over -------------------------------------------------------------------------------------------------

constexpr int hand_overs = 5000;

void tandem_side(int mine) {
  for (int i = 0; i < hand_overs; ++i) {
    std::unique_lock lock(all->mutex);
    all->changed.wait(lock, [=] { return all->turn == mine; });
    all->turn = 1 - mine;
    all->changed.notify_one();
  }
}
void pthread_side(int mine) {
  for (int i = 0; i < hand_overs; ++i) {
    ::pthread_mutex_lock(&all->talk_mutex);
    while (all->turn != mine) ::pthread_cond_wait(&all->talk_changed, &all->talk_mutex);
    all->turn = 1 - mine;
    ::pthread_cond_signal(&all->talk_changed);
    ::pthread_mutex_unlock(&all->talk_mutex);
  }
}
void tandem_meetings(int) {
  for (int i = 0; i < hand_overs; ++i) all->barrier.arrive_and_wait();
}
void pthread_meetings(int) {
  for (int i = 0; i < hand_overs; ++i) ::pthread_barrier_wait(&all->pthread_barrier);
}

template <void (*Side)(int)>
double round_trip_us() {
  all->turn = 0;
  tandem::process other(Side, 1);
  const auto start = bench::steady::now();
  Side(0);
  other.join();
  return bench::micros_since(start) / hand_overs;
}

// ---- deaths -------------------------------------------------------------------------------------------------------

template <class Lock>
void hold(Lock& lock) {
  lock.lock();
  all->ready = 1;
  for (;;) ::pause();
}
void hold_tandem() { hold(all->mutex); }
void hold_pthread() { hold(all->robust); }
void hold_nothing() {
  all->ready = 1;
  for (;;) ::pause();
}

bool tandem_died(int) {
  try {
    all->mutex.lock();
    return false;
  } catch (const tandem::owner_died&) {
    all->mutex.lock_and_repair([] {});
    return true;
  }
}
bool pthread_died(int) { return all->robust.owner_died(); }
// No lock, and no second process that tells: what the kernel needs to end a process and say so.
bool pidfd_readable(int pidfd) {
  pollfd one{pidfd, POLLIN, 0};
  return ::poll(&one, 1, -1) == 1;
}

/// From SIGKILL of a process until a thread that sleeps in `told` is told.
double recovery_us(void (*hold_it)(), bool (*told)(int pidfd)) {
  constexpr int deaths = 20;
  std::vector<double> each;
  for (int i = 0; i < deaths; ++i) {
    all->ready = 0;
    tandem::process owner(hold_it);
    while (all->ready == 0) std::this_thread::yield();
    std::atomic<double> took{0};
    std::atomic<bool> waits{false};
    bench::steady::time_point start;
    std::thread waiter([&] {
      waits = true;
      if (told(owner.native_handle())) took = bench::micros_since(start);
    });
    while (!waits) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // it sleeps by then
    start = bench::steady::now();
    owner.signal(SIGKILL);
    waiter.join();
    owner.join();
    if (took == 0) throw std::runtime_error("a death was not told");
    each.push_back(took);
  }
  return bench::median(std::move(each));
}

// ---- the report ---------------------------------------------------------------------------------------------------

std::vector<std::string> rows;

void table(const char* title, const char* unit, std::vector<contestant>& contestants, int rounds) {
  bench::interleave(contestants, rounds);
  fmt::print("\n{}: {}, median of {} rounds (least .. most)\n", title, unit, rounds);
  for (const contestant& c : contestants) {
    fmt::print("  {:<32}{:>10.1f}  ({:.1f} .. {:.1f})\n", c.name, c.mid(), c.least(), c.most());
    rows.push_back(bench::json_of(c, title, 0));
  }
}

void ratio(const std::vector<contestant>& contestants, const char* a, const char* b, std::optional<double> asked = {}) {
  const std::vector<double> each = bench::ratios(bench::named(contestants, a), bench::named(contestants, b));
  fmt::print("  {} / {}: {:.2f}{}\n", a, b, bench::median(each),
             asked ? fmt::format(", asked for: {:.2f}", *asked) : "");
}

void prepare() {
  void* const memory = ::mmap(nullptr, sizeof(common), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  all = new (memory) common;
  pthread_barrierattr_t barrier;
  ::pthread_barrierattr_init(&barrier);
  ::pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
  require(::pthread_barrier_init(&all->pthread_barrier, &barrier, 2), "pthread_barrier_init");
  pthread_mutexattr_t mutex;
  ::pthread_mutexattr_init(&mutex);
  ::pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
  require(::pthread_mutex_init(&all->talk_mutex, &mutex), "pthread_mutex_init");
  pthread_condattr_t condition;
  ::pthread_condattr_init(&condition);
  ::pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
  require(::pthread_cond_init(&all->talk_changed, &condition), "pthread_cond_init");
}

void run(int argc, char** argv) {
  bench::arguments given(argc, argv);
  const int rounds = given.number("--rounds", 9);
  const std::string json = given.text("--json", "");
  given.finish();
  prepare();
  tandem::init();
  const double line_ns = bench::line_round_trip_ns();
  fmt::print("CPUs: {}; a cache line there and back takes {:.0f} ns ({})\n", bench::allowed_cpus().size(), line_ns,
             bench::distance(line_ns));

  std::vector<contestant> free;
  for (const contender& c : contenders) free.push_back({c.name, [&c] { return free_ns(c); }});
  table("free, one thread", "ns for lock and unlock", free, rounds);
  ratio(free, "tandem::mutex", "std::mutex", 1.0);
  ratio(free, "tandem::mutex", "pthread, robust", 1.0);

  const int turns = turns_of_50_ns();
  std::vector<contestant> threads;
  std::vector<contestant> processes;
  for (int i = 0; i < 7; ++i) {
    const contender& c = contenders[i];
    threads.push_back({c.name, [i, turns] { return contended_ns<std::thread>(i, turns); }});
    if (c.between_processes)
      processes.push_back({c.name, [i, turns] { return contended_ns<tandem::process<void>>(i, turns); }});
  }
  table("two threads, 50 ns inside and 50 outside", "ns for each visit", threads, rounds);
  ratio(threads, "tandem::mutex", "std::mutex", 1.0);
  table("two processes, 50 ns inside and 50 outside", "ns for each visit", processes, rounds);
  ratio(processes, "tandem::mutex", "pthread, process-shared", 0.65);

  std::vector<contestant> trips = {
      {"pthread condition", [] { return round_trip_us<pthread_side>(); }},
      {"tandem::condition_variable", [] { return round_trip_us<tandem_side>(); }},
      {"pthread barrier", [] { return round_trip_us<pthread_meetings>(); }},
      {"tandem::barrier", [] { return round_trip_us<tandem_meetings>(); }},
  };
  table("two processes, handing over", "µs there and back, or for each meeting", trips, rounds);

  std::vector<contestant> deaths = {
      {"pthread, robust", [] { return recovery_us(hold_pthread, pthread_died); }},
      {"a pidfd that a thread polls", [] { return recovery_us(hold_nothing, pidfd_readable); }},
      {"tandem::mutex", [] { return recovery_us(hold_tandem, tandem_died); }},
  };
  table("from SIGKILL of the owner until a waiter is told", "µs", deaths, rounds);
  for (const char* other : {"pthread, robust", "a pidfd that a thread polls"}) ratio(deaths, "tandem::mutex", other);
  bench::write_file(json,
                    fmt::format("{{\"line_ns\": {:.1f}, \"rows\": [\n  {}\n]}}\n", line_ns, fmt::join(rows, ",\n  ")));
}

}  // namespace

int main(int argc, char** argv) { return bench::main_of("bench_sync", run, argc, argv); }
