#include "worker/service.hpp"

#include <atomic>
#include <map>
#include <mutex>

#include <tandem/error.hpp>

#include "os/kernel.hpp"
#include "worker/fork_watch.hpp"

namespace tandem::worker {

namespace {

struct service {
  unsigned epoch = fork_epoch();
  std::recursive_mutex awake;  // held by the thread but while it sleeps
  std::mutex lifecycle;        // held while the thread is started or ended, but never by that thread
  std::mutex mutex;            // of what follows
  std::map<int, std::weak_ptr<listener>> listeners;
  file_descriptor poll;
  file_descriptor wake;
  std::atomic<bool> running{false};
  bool to_be_joined = false;  // under lifecycle: the thread has ended by itself
  pthread_t thread{};
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

// Ends the thread from within, if nobody is left to listen for. Where another one starts or ends it just now, that one
// sees to it.
bool leaves(service& s) {
  const std::unique_lock deciding(s.lifecycle, std::try_to_lock);
  if (!deciding) return false;
  const std::lock_guard lock(s.mutex);
  if (!s.listeners.empty() || !s.running.load()) return false;
  s.running.store(false);
  s.to_be_joined = true;
  s.poll = {};
  s.wake = {};
  return true;
}

void* run(void* argument) {
  service& s = *static_cast<service*>(argument);
  os::name_thread("tandem-service");
  in_service_thread = true;
  for (;;) {
    const int ready = os::poll_wait(s.poll.get());  // the one place where it sleeps
    const std::lock_guard awake(s.awake);
    if (!s.running.load()) return nullptr;
    if (ready < 0 || ready == s.wake.get()) continue;
    if (const std::shared_ptr<listener> one = take_listener(s, ready)) one->hear();
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

void close(service& s) noexcept {
  s.poll = {};
  s.wake = {};
}

void add(service& s, int descriptor, std::weak_ptr<listener> one) {
  const std::lock_guard lock(s.mutex);
  s.listeners.emplace(descriptor, std::move(one));
  if (const int failed = os::poll_add(s.poll.get(), descriptor)) {
    s.listeners.erase(descriptor);
    os::throw_failed("epoll_ctl", -failed);
  }
}

void start(service& s, int first) {
  s.running.store(true);
  const os::signal_guard blocked;  // the thread inherits the mask: signals are for the user's threads
  const int failed = os::start_thread(&run, &s, s.thread);
  if (failed >= 0) return;
  s.running.store(false);
  const std::lock_guard lock(s.mutex);
  s.listeners.erase(first);
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
    start(s, descriptor);
  } catch (...) {
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
    if (!s->listeners.empty() || in_service_thread) return;
  }
  const std::lock_guard stopping(s->lifecycle);
  join_leaver(*s);
  {
    const std::lock_guard lock(s->mutex);
    if (!s->listeners.empty() || !s->running.load()) return;  // another one came, or somebody else was first
    s->running.store(false);
    os::signal_event(s->wake.get());
  }
  os::join_thread(s->thread, os::never);
  close(*s);
}

int service_threads() noexcept {
  service* s = current.load(std::memory_order_acquire);
  if (s == nullptr || s->epoch != fork_epoch()) return 0;
  const std::unique_lock lock(s->lifecycle, std::try_to_lock);
  if (lock && !in_service_thread) join_leaver(*s);
  return s->running.load() ? 1 : 0;
}

parked_service::parked_service() : epoch_(fork_epoch()) {
  if (service_threads() == 0) return;
  current.load()->awake.lock();
  locked_ = true;
}

parked_service::~parked_service() {
  if (locked_ && epoch_ == fork_epoch()) current.load()->awake.unlock();
}

}  // namespace tandem::worker
