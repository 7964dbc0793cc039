#pragma once
// Runs a few participants in every order of their steps, within a bound, and has one of them die at every step.
//
// A participant is a fiber; before each access to shared memory, and each call to the kernel, it gives way to a scheduler,
// whose choices are gone through in depth-first order (Musuvathi and Qadeer, Iterative context bounding, PLDI 2007: all
// schedules with few preemptions). A death is two events: the participant stops; later somebody notices, marks it and
// wakes the others. Memory is sequentially consistent here: what the weaker orders permit is not explored.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <tandem/deadline.hpp>

namespace tandem::test {

class world {
 public:
  struct bounds {
    int preemptions = 2;
    int deaths = 0;
    // A unit test goes as far as this; TANDEM_TEST_SCHEDULES=1000000 goes through all.
    long most_runs = runs_asked_for();
  };
  static long runs_asked_for() {
    const char* const asked = std::getenv("TANDEM_TEST_SCHEDULES");
    return asked != nullptr ? std::atol(asked) : 20'000;
  }
  struct found {
    long runs = 0;
    bool complete = false;  // all schedules within the bounds
    std::string failure;    // of the first that failed
  };

  /// Runs `bodies()` in all schedules; each time it makes new bodies with new shared memory. `audit`, if it is there, runs
  /// alone when the others have ended.
  struct scenario {
    std::vector<std::function<void()>> bodies;
    std::function<void()> audit = {};
  };
  static found explore(bounds b, const std::function<scenario()>& make) {
    world w(b);
    found result;
    do {
      w.run(make());
      ++result.runs;
      result.failure = w.failure_;
    } while (w.failure_.empty() && w.next_schedule() && result.runs < b.most_runs);
    result.complete = result.failure.empty() && w.path_.empty();
    return result;
  }

  static world& current() { return *now; }

  // ---- for the participants ---------------------------------------------------------------------------------------
  void step() { give_way(); }
  std::uint32_t me() const { return static_cast<std::uint32_t>(running_) + 1; }
  bool marked(std::uint32_t id) {
    step();
    return id == 0 || id > fibers_.size() || fibers_[id - 1]->marked;
  }
  std::uint32_t epoch() {
    step();
    return epoch_;
  }
  /// `still`: whether the word is what is expected. False at the deadline, which may come at any time.
  template <class Still>
  bool wait(const void* word, Still still, std::uint32_t epoch, clock::time_point deadline) {
    step();
    if (!still() || epoch_ != epoch) return true;
    fiber& f = *fibers_[static_cast<std::size_t>(running_)];
    f.waits_for = word;
    f.may_time_out = deadline != clock::time_point::max();
    f.timed_out = false;
    sleepers_.push_back(running_);
    give_way();
    return !f.timed_out;
  }
  int wake(const void* word, int most) {
    step();
    int woken = 0;
    for (auto it = sleepers_.begin(); it != sleepers_.end() && woken < most;) {
      if (fibers_[static_cast<std::size_t>(*it)]->waits_for == word) {
        fibers_[static_cast<std::size_t>(*it)]->waits_for = nullptr;
        it = sleepers_.erase(it);
        ++woken;
      } else {
        ++it;
      }
    }
    return woken;
  }
  void require(bool condition, const char* what) {
    if (!condition && failure_.empty()) failure_ = what;
  }

 private:
  struct fiber {
    ucontext_t context{};  // where it begins
    jmp_buf here{};        // where it goes on
    bool begun = false;
    std::vector<std::byte> stack = std::vector<std::byte>(std::size_t{64} * 1024);
    std::function<void()> body;
    const void* waits_for = nullptr;
    bool may_time_out = false;
    bool timed_out = false;
    bool ended = false;
    bool dead = false;    // it stopped
    bool marked = false;  // and that is known
  };
  struct choice {
    int taken;
    int of;
  };
  enum class event { run, time_out, die, mark };
  struct option {
    event what;
    int who;
  };

  explicit world(bounds b) : bounds_(b) {}

  int choose(int of) {
    if (of == 1) return 0;
    if (at_ == path_.size()) path_.push_back({0, of});
    return path_[at_++].taken;
  }
  bool next_schedule() {
    while (!path_.empty() && path_.back().taken + 1 == path_.back().of) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().taken;
    return true;
  }

  static void enter(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<fiber*>((std::uintptr_t{high} << 32) | low);
    self->body();
    self->ended = true;
    now->give_way();
  }
  // As swapcontext(), without its system calls, which are most of what a step costs.
  [[gnu::noinline]] void give_way() {
    if (_setjmp(fibers_[static_cast<std::size_t>(running_)]->here) == 0) ::_longjmp(scheduler_, 1);
  }
  [[gnu::noinline]] void resume(fiber& f) {
    if (_setjmp(scheduler_) != 0) return;
    if (f.begun) ::_longjmp(f.here, 1);
    f.begun = true;
    ::setcontext(&f.context);
  }

  void prepare(std::size_t i, std::function<void()> body) {
    if (i == fibers_.size()) fibers_.push_back(std::make_unique<fiber>());
    fiber& f = *fibers_[i];
    f.body = std::move(body);
    f.waits_for = nullptr;
    f.ended = f.dead = f.marked = f.timed_out = f.begun = false;
    ::getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = f.stack.size();
    f.context.uc_link = nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(&f);
    ::makecontext(&f.context, reinterpret_cast<void (*)()>(&enter), 2, static_cast<unsigned>(address >> 32),
                  static_cast<unsigned>(address));
  }

  void run(scenario s) {
    now = this;
    at_ = 0;
    failure_.clear();
    sleepers_.clear();
    preemptions_ = bounds_.preemptions;
    deaths_ = bounds_.deaths;
    steps_ = 0;
    running_ = -1;
    count_ = s.bodies.size();
    for (std::size_t i = 0; i < s.bodies.size(); ++i) prepare(i, std::move(s.bodies[i]));
    schedule();
    if (!failure_.empty() || !s.audit) return;
    deaths_ = 0;
    preemptions_ = 0;
    prepare(count_, std::move(s.audit));
    ++count_;
    schedule();
    fibers_.pop_back();
  }

  // What may happen next; the first is that the one who ran goes on.
  const std::vector<option>& options() {
    std::vector<option>& all = options_;
    all.clear();
    const auto can_run = [&](std::size_t i) {
      const fiber& f = *fibers_[i];
      return !f.ended && !f.dead && f.waits_for == nullptr;
    };
    const bool goes_on = running_ >= 0 && can_run(static_cast<std::size_t>(running_));
    if (goes_on) all.push_back({event::run, running_});
    for (std::size_t i = 0; i < count_; ++i) {
      const fiber& f = *fibers_[i];
      const int who = static_cast<int>(i);
      if (who != running_ && can_run(i) && (!goes_on || preemptions_ > 0)) all.push_back({event::run, who});
      if (f.dead && !f.marked) all.push_back({event::mark, who});
      if (!f.dead && !f.ended && deaths_ > 0 && (who == running_ || f.waits_for != nullptr || !goes_on))
        all.push_back({event::die, who});
      if (!f.dead && f.waits_for != nullptr && f.may_time_out && (!goes_on || preemptions_ > 0))
        all.push_back({event::time_out, who});
    }
    return all;
  }

  void schedule() {
    for (;;) {
      if (!failure_.empty()) return;
      const std::vector<option>& all = options();
      if (all.empty()) break;
      if (++steps_ > 3000) {
        failure_ = "it does not come to an end";
        return;
      }
      const option next = all[static_cast<std::size_t>(choose(static_cast<int>(all.size())))];
      happen(next, all[0]);
    }
    for (std::size_t i = 0; i < count_; ++i) {
      if (!fibers_[i]->ended && !fibers_[i]->dead) failure_ = "one sleeps for ever";
    }
  }

  void happen(const option& next, const option& usual) {
    fiber& f = *fibers_[static_cast<std::size_t>(next.who)];
    switch (next.what) {
      case event::die:
        --deaths_;
        f.dead = true;
        std::erase(sleepers_, next.who);
        return;
      case event::mark:
        f.marked = true;
        ++epoch_;
        for (const int sleeper : sleepers_) fibers_[static_cast<std::size_t>(sleeper)]->waits_for = nullptr;
        sleepers_.clear();
        return;
      case event::time_out:
        f.timed_out = true;
        f.waits_for = nullptr;
        std::erase(sleepers_, next.who);
        [[fallthrough]];
      case event::run: break;
    }
    if (usual.what == event::run && usual.who == running_ && next.who != running_) --preemptions_;
    running_ = next.who;
    resume(f);
  }

  static inline world* now = nullptr;
  bounds bounds_;
  jmp_buf scheduler_{};
  std::vector<std::unique_ptr<fiber>> fibers_;
  std::size_t count_ = 0;
  std::deque<int> sleepers_;
  std::vector<option> options_;
  std::vector<choice> path_;
  std::size_t at_ = 0;
  int running_ = -1;
  int preemptions_ = 0;
  int deaths_ = 0;
  int steps_ = 0;
  std::uint32_t epoch_ = 0;
  std::string failure_;
};

/// An atomic of that world: each access is one step.
template <class T>
class explored {
 public:
  explored(T value = 0) : value_(value) {}  // NOLINT: as std::atomic
  T load(std::memory_order = {}) const {
    world::current().step();
    return value_;
  }
  void store(T value, std::memory_order = {}) {
    world::current().step();
    value_ = value;
  }
  T exchange(T value, std::memory_order = {}) {
    world::current().step();
    return std::exchange(value_, value);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order = {}, std::memory_order = {}) {
    world::current().step();
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = desired;
    return true;
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order = {}, std::memory_order = {}) {
    return compare_exchange_strong(expected, desired);
  }
  T fetch_add(T by, std::memory_order = {}) {
    world::current().step();
    return std::exchange(value_, static_cast<T>(value_ + by));
  }
  T fetch_or(T bits, std::memory_order = {}) {
    world::current().step();
    return std::exchange(value_, static_cast<T>(value_ | bits));
  }
  T fetch_and(T bits, std::memory_order = {}) {
    world::current().step();
    return std::exchange(value_, static_cast<T>(value_ & bits));
  }
  T peek() const { return value_; }  // no step: for the scheduler

 private:
  T value_;
};

/// What the algorithms run on here.
struct explored_environment {
  using word = explored<std::uint32_t>;
  using wide = explored<std::uint64_t>;
  struct claim_entry {
    explored<std::uint32_t> owner;
    explored<std::uint32_t> state;
    explored<std::uint64_t> object;
  };
  static inline std::vector<claim_entry> claims;

  static std::uint32_t me() { return world::current().me(); }
  static bool alive(std::uint32_t id) { return !world::current().marked(id); }
  static bool killed(std::uint32_t id) { return world::current().marked(id); }
  static std::uint32_t epoch() { return world::current().epoch(); }
  static bool wait(word& w, std::uint32_t expected, std::uint32_t epoch, clock::time_point deadline) {
    return world::current().wait(
        &w, [&w, expected] { return w.peek() == expected; }, epoch, deadline);
  }
  static bool wait(wide& w, std::uint32_t expected, std::uint32_t epoch, clock::time_point deadline) {
    return world::current().wait(
        &w, [&w, expected] { return static_cast<std::uint32_t>(w.peek()) == expected; }, epoch, deadline);
  }
  template <class W>
  static int wake(W& w, int most) {
    return world::current().wake(&w, most);
  }
  static inline unsigned turns = 0;  // how often a waiter looks again before it sleeps
  static unsigned spin_turns() { return turns; }
  static void spin() {}
  static void step(const char*) {}
  static claim_entry& claim_at(std::uint32_t index) { return claims[index % claims.size()]; }
  static std::uint32_t claims_used() { return static_cast<std::uint32_t>(claims.size()); }
};

}  // namespace tandem::test
