#pragma once
// The service thread of this process: it sleeps until one of the descriptors that are listened to becomes readable, an
// alarm is due or work is posted. It exists only while there is somebody to serve, and does not count as another thread
// where a copy of the process is made.
#include <memory>

#include <tandem/deadline.hpp>
#include <tandem/detail/worker_posted.hpp>

namespace tandem::worker {

class listener {
 public:
  virtual ~listener() = default;
  /// In the service thread, once: the descriptor is forgotten.
  virtual void hear() noexcept = 0;
};

/// Errors: resource_exhausted; std::bad_alloc.
void listen(int descriptor, std::weak_ptr<listener>);
/// Nobody is told of it any more; one that is being told may still be. Blocks: if it was the last one, until the thread has
/// ended, unless this is that thread.
void forget(int descriptor) noexcept;

/// While one of them lives, so does the thread: post() and set_alarm() cannot fail then.
class service_hold {
 public:
  /// Errors: resource_exhausted.
  service_hold();
  /// Never blocks: the thread ends by itself.
  ~service_hold();
  service_hold(const service_hold&) = delete;
  service_hold& operator=(const service_hold&) = delete;

 private:
  unsigned epoch_;
};

/// Runs it once in the service thread, after what was posted before. It stays where it is until then. The caller has a
/// service_hold.
void post(detail::posted&) noexcept;

class alarm {
 public:
  alarm() noexcept = default;
  alarm(const alarm&) = delete;
  alarm& operator=(const alarm&) = delete;
  virtual ~alarm() = default;
  /// In the service thread, at its time or soon after; it may be set again there.
  virtual void ring() noexcept = 0;

 private:
  friend struct alarms;
  clock::time_point due_{};
  alarm* previous_ = nullptr;
  alarm* next_ = nullptr;
  bool set_ = false;
};

/// It stays where it is until it has rung or was taken back. The caller has a service_hold.
/// Cost: a system call if it is the next one to ring.
void set_alarm(alarm&, clock::time_point due) noexcept;
/// True if it was set, and will not ring; else it has rung. Blocks: while it rings, unless this is the service thread.
bool take_back(alarm&) noexcept;

/// How many threads of this process are its service thread: 0 or 1.
int service_threads() noexcept;
bool is_service_thread() noexcept;

/// While it lives, the service thread sleeps, and holds no lock of anybody.
class parked_service {
 public:
  parked_service();
  ~parked_service();
  parked_service(const parked_service&) = delete;
  parked_service& operator=(const parked_service&) = delete;

 private:
  unsigned epoch_;
  bool locked_ = false;
};

}  // namespace tandem::worker
