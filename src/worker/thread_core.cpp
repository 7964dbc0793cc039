#include <tandem/detail/thread_core.hpp>

#include <cxxabi.h>

#include <algorithm>
#include <future>
#include <limits>

#include <tandem/error.hpp>

#include "os/kernel.hpp"
#include "worker/current_unit.hpp"
#include "worker/fork_watch.hpp"
#include "worker/unit_name.hpp"

namespace tandem::detail {

namespace {

constexpr std::uint32_t somebody_waits = std::numeric_limits<std::uint32_t>::max();  // no tid: those end at 2^22

std::atomic<unsigned> numbers{0};

}  // namespace

thread_core::thread_core(std::string name) : named_(!name.empty()), epoch_(worker::fork_epoch()) {
  worker::require_name(name);
  name_ = worker::name_or_number(name, "thread-", numbers);
}

thread_core::~thread_core() { strike(); }

bool thread_core::of_this_process() const noexcept { return epoch_ == worker::fork_epoch(); }

void thread_core::start() {
  worker::watch_forks();
  since_ = clock::now();
  const int failed = os::start_thread(&thread_core::body, this, handle_);
  if (failed < 0) os::throw_failed("pthread_create", -failed, "no thread was started");
  enlist();
}

void* thread_core::body(void* self) {
  static_cast<thread_core*>(self)->execute();
  return nullptr;
}

// glibc unwinds a cancelled thread with an exception object that is no C++ object: the reference to it is null.
__attribute__((no_sanitize("undefined"))) void thread_core::execute() {
  const auto tid = static_cast<std::uint32_t>(os::own_tid());
  if (tid_.exchange(tid, std::memory_order_acq_rel) == somebody_waits) os::futex_wake_all(tid_);
  if (named_) os::name_thread(name_.c_str());
  worker::current_unit() = this;
  // Also on the way out of pthread_exit, which unwinds and must not be stopped. status_ is written before ended_ is
  // released, and read only after that was acquired.
  struct at_end {
    thread_core& self;
    ~at_end() {
      self.release();
      worker::current_unit() = nullptr;
      if (self.ended_.exchange(1, std::memory_order_acq_rel) == 2) os::futex_wake_all(self.ended_);
      // Whoever watches from now on sees that it has ended.
      const std::lock_guard lock(self.watching_);
      for (const int event : self.events_) os::signal_event(event);
    }
  } const end{*this};
  status_ = exit_status::make(ending::exited);
  try {
    run();
    status_ = {};
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    error_ = std::current_exception();
    status_ = exit_status::make(ending::threw);
  }
}

void thread_core::watch(int event) {
  const std::lock_guard lock(watching_);
  if (ended()) return os::signal_event(event);
  events_.push_back(event);
}

void thread_core::unwatch(int event) noexcept {
  const std::lock_guard lock(watching_);
  events_.erase(std::remove(events_.begin(), events_.end(), event), events_.end());
}

pid_t thread_core::id() const noexcept {
  auto& word = const_cast<std::atomic<std::uint32_t>&>(tid_);
  for (std::uint32_t seen = word.load(std::memory_order_acquire);;) {
    if (seen != 0 && seen != somebody_waits) return static_cast<pid_t>(seen);
    if (seen == 0) word.compare_exchange_strong(seen, somebody_waits, std::memory_order_acq_rel);
    if (seen == 0 || seen == somebody_waits) os::futex_wait(word, somebody_waits);
    seen = word.load(std::memory_order_acquire);
  }
}

tandem::stop_source thread_core::get_stop_source() {
  const std::lock_guard lock(sourcing_);
  if (!source_) source_.emplace(stops_);
  return *source_;
}

void thread_core::join() { join_until(os::never); }

bool thread_core::join_until(clock::time_point deadline) {
  if (worker::current_unit() == this) {
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "tandem: a thread cannot join itself");
  }
  if (joined()) return true;
  if (deadline != os::never) {
    for (std::uint32_t seen = ended_.load(std::memory_order_acquire); seen != 1;
         seen = ended_.load(std::memory_order_acquire)) {
      if (clock::now() >= deadline) return false;
      if (seen == 0) ended_.compare_exchange_strong(seen, 2, std::memory_order_acq_rel);
      os::futex_wait(ended_, 2, deadline);
    }
  }
  // It may still run the destructors of its thread_local objects.
  std::unique_lock lock(joining_, std::defer_lock);
  if (deadline == os::never) {
    lock.lock();
  } else if (!lock.try_lock_until(deadline)) {
    return false;
  }
  if (!joined()) {
    if (!os::join_thread(handle_, deadline)) return false;
    joined_.store(true, std::memory_order_release);
  }
  return true;
}

void thread_core::leave_the_value_once() {
  if (value_taken_.exchange(true)) throw std::future_error(std::future_errc::future_already_retrieved);
}

void thread_core::rethrow() {
  if (error_) std::rethrow_exception(error_);
  crash_report report;
  report.status = status_;
  report.task = name_;
  report.worker = name_;
  report.pid = id();
  throw worker_exited(std::move(report));
}

worker_info thread_core::describe() const { return {id(), name_, false, {}, since_, 0}; }

}  // namespace tandem::detail
