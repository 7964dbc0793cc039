#include "allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> bytes_now = 0;
std::atomic<std::size_t> bytes_peak = 0;
std::atomic<std::size_t> calls = 0;
constexpr std::size_t header = 16;  // keeps the size, and the alignment

}  // namespace

namespace allocations {

std::size_t now() noexcept { return bytes_now; }
std::size_t peak() noexcept { return bytes_peak; }
void restart_peak() noexcept { bytes_peak = bytes_now.load(); }
std::size_t count() noexcept { return calls; }
void restart_count() noexcept { calls = 0; }

}  // namespace allocations

void* operator new(std::size_t size) {
  void* block = std::malloc(size + header);
  if (block == nullptr) throw std::bad_alloc();
  *static_cast<std::size_t*>(block) = size;
  ++calls;
  const std::size_t total = bytes_now += size;
  if (total > bytes_peak) bytes_peak = total;
  return static_cast<char*>(block) + header;
}

void operator delete(void* given) noexcept {
  if (given == nullptr) return;
  void* block = static_cast<char*>(given) - header;
  bytes_now -= *static_cast<std::size_t*>(block);
  std::free(block);
}

void operator delete(void* given, std::size_t) noexcept { operator delete(given); }
