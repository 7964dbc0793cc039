#include "touched_memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace cli::kernel {

namespace {

constexpr std::size_t page = 4096;  // or a part of one

char* mapped(std::size_t bytes) noexcept {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}

}  // namespace

touched_memory::touched_memory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  memory_ = mapped(bytes);
  if (memory_ == nullptr) throw std::system_error(errno, std::generic_category(), "cannot map memory");
  ::madvise(memory_, bytes, MADV_NOHUGEPAGE);
  std::memset(memory_, 1, bytes);
}

touched_memory::~touched_memory() {
  if (memory_ != nullptr) ::munmap(memory_, bytes_);
}

std::size_t touched_memory::read() const noexcept {
  std::size_t sum = 0;
  for (std::size_t at = 0; at < bytes_; at += page) sum += static_cast<std::size_t>(memory_[at]);
  return sum;
}

bool can_map(std::size_t bytes) noexcept {
  char* memory = mapped(bytes);
  if (memory == nullptr) return false;
  ::munmap(memory, bytes);
  return true;
}

}  // namespace cli::kernel
