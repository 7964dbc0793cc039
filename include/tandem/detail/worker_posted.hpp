#pragma once
// What is to be done in the service thread (src/worker/service.hpp).

namespace tandem::detail {

class posted {
 public:
  posted() noexcept = default;
  posted(const posted&) = delete;
  posted& operator=(const posted&) = delete;
  virtual ~posted() = default;
  /// Once, in the service thread; may destroy the object.
  virtual void run() noexcept = 0;

  posted* next = nullptr;  // the service's, from the call of post() on
};

}  // namespace tandem::detail
