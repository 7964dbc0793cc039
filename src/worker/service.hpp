#pragma once
// The service thread of this process: it sleeps until one of the descriptors that are listened to becomes readable. It
// exists only while there are any, and does not count as another thread where a copy of the process is made.
#include <memory>

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

/// How many threads of this process are its service thread: 0 or 1.
int service_threads() noexcept;

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
