#pragma once
// What all tandem::thread<R> have in common, whatever R is.
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <tandem/crash_report.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/detail/unit.hpp>
#include <tandem/stop_source.hpp>

namespace tandem::detail {

class TANDEM_EXPORT thread_core : public unit {
 public:
  explicit thread_core(std::string name);
  ~thread_core() override;

  void start();  // once; resource_exhausted
  void join();
  bool join_until(clock::time_point deadline);
  bool ended() const noexcept { return ended_.load(std::memory_order_acquire) == 1; }
  bool joined() const noexcept { return joined_.load(std::memory_order_acquire); }
  exit_status status() const noexcept { return status_; }  // once ended
  pid_t id() const noexcept;
  pthread_t handle() const noexcept { return handle_; }
  const std::string& name() const noexcept { return name_; }
  std::stop_source& stops() noexcept { return stops_; }
  tandem::stop_source get_stop_source();  // one for as long as this lives: other processes may have copies of it
  void leave_the_value_once();            // std::future_error the second time
  [[noreturn]] void rethrow();            // what the function threw, or worker_exited
  bool of_this_process() const noexcept;
  /// The eventfd is signalled once the thread has ended.
  void watch(int event);
  void unwatch(int event) noexcept;

  worker_info describe() const override;
  bool active() const noexcept override { return !ended(); }

 protected:
  virtual void run() = 0;      // the user's function, in the new thread
  virtual void release() = 0;  // destroys the function and its arguments, in the new thread

 private:
  static void* body(void* self);
  void execute();

  std::string name_;
  bool named_;
  std::stop_source stops_;
  pthread_t handle_{};
  std::exception_ptr error_;
  exit_status status_;
  clock::time_point since_{};
  std::atomic<std::uint32_t> tid_{0};    // 0: not known yet; waiting_for_it: somebody sleeps on it
  std::atomic<std::uint32_t> ended_{0};  // 1: ended; 2: somebody sleeps on it
  std::atomic<bool> joined_{false};
  std::timed_mutex joining_;
  std::atomic<bool> value_taken_{false};
  std::mutex sourcing_;
  std::optional<tandem::stop_source> source_;
  std::mutex watching_;
  std::vector<int> events_;  // of those who watch
  unsigned epoch_;
};

}  // namespace tandem::detail
