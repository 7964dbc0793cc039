#pragma once
#include <cstddef>

namespace cli::kernel {

/// Private memory of which every page is there. In pages of 4 KiB, which most programs have: with larger ones fork would
/// cost less.
class touched_memory {
 public:
  /// Errors: std::system_error.
  explicit touched_memory(std::size_t bytes);
  touched_memory(const touched_memory&) = delete;
  touched_memory& operator=(const touched_memory&) = delete;
  ~touched_memory();
  /// Reads something of each page; the same number for the same amount, whoever reads.
  std::size_t read() const noexcept;

 private:
  char* memory_ = nullptr;
  std::size_t bytes_;
};

/// True if so much may be mapped, which says nothing of whether there is memory behind it.
bool can_map(std::size_t bytes) noexcept;

}  // namespace cli::kernel
