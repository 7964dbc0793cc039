#pragma once
// A point at which threads and processes, made after it, wait until all have been looked at.
#include <atomic>
#include <cstdint>
#include <functional>

namespace cli::kernel {

class gate {
 public:
  /// Errors: std::system_error.
  gate();
  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;
  ~gate();
  /// Counts the caller and holds it until the gate opens.
  void pass() noexcept;
  /// Waits until so many have been counted, or until `hopeless`, which is asked now and then, is true: then false.
  bool wait_for(std::uint32_t many, const std::function<bool()>& hopeless);
  void open() noexcept;
  /// Closes it, with nobody counted. Nobody may be inside.
  void close() noexcept;

 private:
  struct page {
    std::atomic<std::uint32_t> arrived = 0;
    std::atomic<std::uint32_t> opened = 0;
  };
  page* shared_;
};

}  // namespace cli::kernel
