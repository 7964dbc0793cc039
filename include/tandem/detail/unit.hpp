#pragma once
// One thread or process in the list that active_workers() reads.
#include <tandem/detail/export.hpp>
#include <tandem/this_worker.hpp>

namespace tandem::detail {

[[noreturn]] TANDEM_EXPORT void throw_no_state();    // get() of an empty thread or process
[[noreturn]] TANDEM_EXPORT void throw_empty_join();  // join() of one

class TANDEM_EXPORT unit {
 public:
  unit() noexcept = default;
  unit(const unit&) = delete;
  unit& operator=(const unit&) = delete;
  virtual ~unit() = default;

  virtual worker_info describe() const = 0;
  virtual bool active() const noexcept = 0;

 protected:
  void enlist() noexcept;
  void strike() noexcept;  // harmless if it is not in the list

 private:
  friend std::vector<worker_info> tandem::active_workers();
  unit* previous_ = nullptr;
  unit* next_ = nullptr;
};

}  // namespace tandem::detail
