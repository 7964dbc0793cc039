#include "worker/service.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <tandem/error.hpp>

#include "os/kernel.hpp"
#include "worker/fork_watch.hpp"

namespace tandem::worker {

/// Those that are set, the next one to ring first.
struct alarms {
  alarm* first = nullptr;
  alarm* last = nullptr;
  alarm* ringing = nullptr;

  // From the back: most are later than those that were set before.
  void insert(alarm& a, clock::time_point due) noexcept {
    alarm* before = last;
    while (before != nullptr && before->due_ > due) before = before->previous_;
    a.due_ = due;
    a.set_ = true;
    a.previous_ = before;
    a.next_ = before != nullptr ? before->next_ : first;
    (before != nullptr ? before->next_ : first) = &a;
    (a.next_ != nullptr ? a.next_->previous_ : last) = &a;
  }
  bool remove(alarm& a) noexcept {
    if (!a.set_) return false;
    (a.previous_ != nullptr ? a.previous_->next_ : first) = a.next_;
    (a.next_ != nullptr ? a.next_->previous_ : last) = a.previous_;
    a.set_ = false;
    return true;
  }
  clock::time_point next_due() const noexcept { return first != nullptr ? first->due_ : os::never; }
};

namespace {

struct service {
  unsigned epoch = fork_epoch();
  std::recursive_mutex awake;  // held by the thread but while it sleeps
  std::mutex lifecycle;        // held while the thread is started or ended, but never by that thread
  std::mutex mutex;            // of what follows
  std::map<int, std::weak_ptr<listener>> listeners;
  int holds = 0;
  alarms set;
  std::condition_variable rang;
  detail::posted* first_posted = nullptr;
  detail::posted* last_posted = nullptr;
  file_descriptor poll;
  file_descriptor wake;
  file_descriptor timer;  // from the first hold on
  std::atomic<bool> running{false};
  bool to_be_joined = false;  // under lifecycle: the thread has ended by itself
  bool stays = false;         // under lifecycle: the program ends
  pthread_t thread{};

  bool idle() const noexcept { return listeners.empty() && holds == 0; }
};

std::atomic<service*> current{nullptr};
thread_local bool in_service_thread = false;

// In a copy of the process thread and locks are the original's: a fresh one is begun, and the old one is left alone.
service& the_service() {
  service* seen = current.load(std::memory_order_acquire);
  while (seen == nullptr || seen->epoch != fork_epoch()) {
    auto* fresh = new service;
    if (current.compare_exchange_strong(seen, fresh)) return *fresh;
    delete fresh;
  }
  return *seen;
}

// The listener of a readable descriptor, which is forgotten.
std::shared_ptr<listener> take_listener(service& s, int descriptor) {
  const std::lock_guard lock(s.mutex);
  const auto found = s.listeners.find(descriptor);
  if (found == s.listeners.end()) return nullptr;
  std::shared_ptr<listener> one = found->second.lock();
  os::poll_remove(s.poll.get(), descriptor);
  s.listeners.erase(found);
  return one;
}

void close(service& s) noexcept {
  s.poll = {};
  s.wake = {};
  s.timer = {};
}

// Ends the thread from within, if nobody is left to listen for. Where another one starts or ends it just now, that one
// sees to it.
bool leaves(service& s) {
  const std::unique_lock deciding(s.lifecycle, std::try_to_lock);
  if (!deciding || s.stays) return false;
  const std::lock_guard lock(s.mutex);
  if (!s.idle() || !s.running.load()) return false;
  s.running.store(false);
  s.to_be_joined = true;
  close(s);
  return true;
}

void drain(int descriptor) noexcept {
  std::array<std::byte, 8> count;
  os::read_some(descriptor, count);
}

void ring_alarms(service& s) noexcept {
  std::unique_lock lock(s.mutex);
  if (s.set.first == nullptr) return;
  // Those that are due now: one that is set again at once comes after whatever else is to be heard.
  const clock::time_point now = clock::now();
  while (s.set.next_due() <= now) {
    alarm& due = *s.set.first;
    s.set.remove(due);
    s.set.ringing = &due;
    lock.unlock();
    due.ring();
    lock.lock();
    s.set.ringing = nullptr;
    s.rang.notify_all();
  }
  if (s.set.first != nullptr) os::set_timer(s.timer.get(), s.set.next_due());
}

void run_posted(service& s) noexcept {
  std::unique_lock lock(s.mutex);
  detail::posted* one = std::exchange(s.first_posted, nullptr);
  s.last_posted = nullptr;
  lock.unlock();
  while (one != nullptr) {
    detail::posted* const next = one->next;
    one->run();  // and it may be gone
    one = next;
  }
}

void* run(void* argument) {
  service& s = *static_cast<service*>(argument);
  os::name_thread("tandem-service");
  in_service_thread = true;
  for (;;) {
    const int ready = os::poll_wait(s.poll.get());  // the one place where it sleeps
    const std::lock_guard awake(s.awake);
    if (!s.running.load()) return nullptr;
    if (ready == s.wake.get() || ready == s.timer.get()) {
      drain(ready);
    } else if (ready >= 0) {
      if (const std::shared_ptr<listener> one = take_listener(s, ready)) one->hear();
    }
    ring_alarms(s);
    run_posted(s);
    if (leaves(s)) return nullptr;
  }
}

// One that left. Under the lifecycle lock.
void join_leaver(service& s) {
  if (!s.to_be_joined) return;
  os::join_thread(s.thread, os::never);
  s.to_be_joined = false;
}

// All of it, or nothing.
void open(service& s) {
  file_descriptor poll(static_cast<int>(os::check(os::make_poll(), "epoll_create1")));
  file_descriptor wake(static_cast<int>(os::check(os::make_event(), "eventfd")));
  os::check(os::poll_add(poll.get(), wake.get()), "epoll_ctl");
  s.poll = std::move(poll);
  s.wake = std::move(wake);
}

void add_timer(service& s) {
  file_descriptor timer(static_cast<int>(os::check(os::make_timer(), "timerfd_create")));
  os::check(os::poll_add(s.poll.get(), timer.get()), "epoll_ctl");
  const std::lock_guard lock(s.mutex);
  s.timer = std::move(timer);
}

void add(service& s, int descriptor, std::weak_ptr<listener> one) {
  const std::lock_guard lock(s.mutex);
  s.listeners.emplace(descriptor, std::move(one));
  if (const int failed = os::poll_add(s.poll.get(), descriptor)) {
    s.listeners.erase(descriptor);
    os::throw_failed("epoll_ctl", -failed);
  }
}

// Nothing would join one that leaves any more: one that has left is joined, and one that is there stays to the end.
void join_at_exit() {
  service* s = current.load(std::memory_order_acquire);
  if (s == nullptr || s->epoch != fork_epoch()) return;
  if (in_service_thread) return;
  // One that leaves just now holds it for a moment; who waits for a callback to return may hold it for ever.
  const clock::time_point latest = deadline_after(std::chrono::seconds(1));
  std::unique_lock deciding(s->lifecycle, std::try_to_lock);
  while (!deciding && clock::now() < latest) {
    std::this_thread::yield();
    static_cast<void>(deciding.try_lock());
  }
  if (!deciding) return;
  join_leaver(*s);
  s->stays = true;
}

void start(service& s) {
  [[maybe_unused]] static const int registered = std::atexit(&join_at_exit);
  s.running.store(true);
  const os::signal_guard blocked;  // the thread inherits the mask: signals are for the user's threads
  const int failed = os::start_thread(&run, &s, s.thread);
  if (failed >= 0) return;
  s.running.store(false);
  os::throw_failed("pthread_create", -failed, "the thread that listens for other processes could not be started");
}

}  // namespace

void listen(int descriptor, std::weak_ptr<listener> one) {
  service& s = the_service();
  const std::lock_guard starting(s.lifecycle);
  if (s.running.load()) return add(s, descriptor, std::move(one));
  join_leaver(s);
  open(s);
  try {
    add(s, descriptor, std::move(one));
    start(s);
  } catch (...) {
    const std::lock_guard lock(s.mutex);
    s.listeners.erase(descriptor);
    close(s);
    throw;
  }
}

void forget(int descriptor) noexcept {
  service* s = current.load(std::memory_order_acquire);
  if (s == nullptr || s->epoch != fork_epoch()) return;
  {
    const std::lock_guard lock(s->mutex);
    if (s->listeners.erase(descriptor) != 0) os::poll_remove(s->poll.get(), descriptor);
    if (!s->idle() || in_service_thread) return;
  }
  const std::lock_guard stopping(s->lifecycle);
  join_leaver(*s);
  {
    const std::lock_guard lock(s->mutex);
    if (!s->idle() || !s->running.load()) return;  // another one came, or somebody else was first
    s->running.store(false);
    os::signal_event(s->wake.get());
  }
  os::join_thread(s->thread, os::never);
  close(*s);
}

service_hold::service_hold() : epoch_(fork_epoch()) {
  service& s = the_service();
  const std::lock_guard starting(s.lifecycle);
  const bool fresh = !s.running.load();
  if (fresh) {
    join_leaver(s);
    open(s);
  }
  try {
    if (!s.timer) add_timer(s);
    if (fresh) start(s);
  } catch (...) {
    if (fresh) close(s);
    throw;
  }
  const std::lock_guard lock(s.mutex);
  ++s.holds;
}

service_hold::~service_hold() {
  if (epoch_ != fork_epoch()) return;
  service& s = *current.load(std::memory_order_acquire);
  const std::lock_guard lock(s.mutex);
  if (--s.holds == 0 && s.idle()) os::signal_event(s.wake.get());
}

void post(detail::posted& work) noexcept {
  service& s = the_service();
  const std::lock_guard lock(s.mutex);
  work.next = nullptr;
  const bool first = s.first_posted == nullptr;
  (first ? s.first_posted : s.last_posted->next) = &work;
  s.last_posted = &work;
  if (first) os::signal_event(s.wake.get());
}

void set_alarm(alarm& a, clock::time_point due) noexcept {
  service& s = the_service();
  const std::lock_guard lock(s.mutex);
  s.set.remove(a);
  s.set.insert(a, due);
  if (s.set.first == &a) os::set_timer(s.timer.get(), due);
}

bool take_back(alarm& a) noexcept {
  service& s = the_service();
  std::unique_lock lock(s.mutex);
  if (s.set.remove(a)) return true;
  if (!in_service_thread) s.rang.wait(lock, [&] { return s.set.ringing != &a; });
  return false;
}

int service_threads() noexcept {
  service* s = current.load(std::memory_order_acquire);
  if (s == nullptr || s->epoch != fork_epoch()) return 0;
  const std::unique_lock lock(s->lifecycle, std::try_to_lock);
  if (lock && !in_service_thread) join_leaver(*s);
  return s->running.load() ? 1 : 0;
}

bool is_service_thread() noexcept { return in_service_thread; }

parked_service::parked_service() : epoch_(fork_epoch()) {
  if (service_threads() == 0) return;
  current.load()->awake.lock();
  locked_ = true;
}

parked_service::~parked_service() {
  if (locked_ && epoch_ == fork_epoch()) current.load()->awake.unlock();
}

}  // namespace tandem::worker
