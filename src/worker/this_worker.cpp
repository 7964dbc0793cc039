#include <tandem/this_worker.hpp>

#include <atomic>
#include <memory>
#include <mutex>

#include <tandem/detail/process_handle.hpp>
#include <tandem/detail/thread_core.hpp>

#include "os/kernel.hpp"
#include "worker/child_side.hpp"
#include "worker/current_task.hpp"
#include "worker/current_unit.hpp"
#include "worker/task_context.hpp"

namespace tandem {

namespace {

// The service thread of a worker process: waits for a stop, and passes it on. It is never joined: the process ends
// around it.
struct listener {
  std::stop_source stops;
  worker::slot_page* page = nullptr;
};

std::atomic<bool> listening{false};
std::atomic<int> task_listeners{0};
std::atomic<const worker::current_task*> running_task{nullptr};

void* listen_for_stop(void* argument) {
  auto* self = static_cast<listener*>(argument);
  while (self->page->stop.load(std::memory_order_acquire) == 0) os::futex_wait(self->page->stop, 0);
  self->stops.request_stop();
  return nullptr;
}

}  // namespace

int worker::stop_threads() noexcept {
  return (listening.load(std::memory_order_acquire) ? 1 : 0) + task_listeners.load(std::memory_order_acquire);
}

void worker::add_stop_thread() noexcept { task_listeners.fetch_add(1, std::memory_order_release); }
void worker::set_current_task(const current_task* task) noexcept {
  running_task.store(task, std::memory_order_release);
}

std::stop_token detail::worker_stop_token() {
  if (const auto* task = running_task.load(std::memory_order_acquire)) return task->token();
  static std::mutex starting;
  static listener* running = nullptr;
  const std::lock_guard lock(starting);
  if (running == nullptr) {
    auto made = std::make_unique<listener>();
    made->page = worker::this_process()->page;
    pthread_t thread{};
    const os::signal_guard blocked;  // the thread inherits the mask: signals are for the user's threads
    if (const int failed = os::start_thread(&listen_for_stop, made.get(), thread); failed < 0) {
      os::throw_failed("pthread_create", -failed, "the thread that listens for a stop could not be started");
    }
    os::leave_thread(thread);
    running = made.release();
    listening.store(true, std::memory_order_release);
  }
  return running->stops.get_token();
}

namespace this_worker {

std::string name() {
  if (const auto* thread = worker::current_unit()) return thread->name();
  const auto* process = worker::this_process();
  return process != nullptr ? process->name.data() : std::string();
}

pid_t id() noexcept { return worker::current_unit() != nullptr ? os::own_tid() : os::own_pid(); }
bool is_process() noexcept { return worker::current_unit() == nullptr && worker::this_process() != nullptr; }
bool is_thread() noexcept { return worker::current_unit() != nullptr; }

bool parent_alive() noexcept {
  const auto* process = worker::this_process();
  if (process == nullptr) return true;
  std::array<os::ready, 1> set{{{process->parent_pidfd}}};
  return os::wait_ready(set, os::now) == 0;
}

// A thread that the task has started has no task of its own.
static const worker::current_task* own_task() noexcept {
  return worker::current_unit() == nullptr ? running_task.load(std::memory_order_acquire) : nullptr;
}

unsigned attempt() noexcept {
  if (worker::thread_task != nullptr) return worker::thread_task->attempt;
  const auto* task = own_task();
  return task != nullptr ? task->attempt : 1;
}

std::optional<clock::time_point> deadline() noexcept {
  if (worker::thread_task != nullptr) return worker::thread_task->deadline;
  const auto* task = own_task();
  return task != nullptr ? task->deadline : std::nullopt;
}

std::stop_token stop_token() {
  if (const auto* task = worker::thread_task) return task->token(task->task);
  if (auto* thread = worker::current_unit()) return thread->stops().get_token();
  return worker::this_process() != nullptr ? detail::worker_stop_token() : std::stop_token();
}

}  // namespace this_worker
}  // namespace tandem
