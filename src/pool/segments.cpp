#include "pool/segments.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <stdexcept>
#include <utility>

#include <tandem/error.hpp>

#include "os/kernel.hpp"

namespace tandem::pools {

std::size_t segment_bytes(std::size_t needed) {
  constexpr std::size_t most = std::size_t{1} << 62;
  constexpr std::size_t unit = std::size_t{1} << 20;
  if (needed > most) throw std::length_error("tandem: an argument or result that no address space holds");
  // Far above what is kept, rounding up to a power of two would waste too much.
  if (needed > most_kept_bytes) return (needed + unit - 1) / unit * unit;
  return std::max(least_segment_bytes, std::bit_ceil(needed));
}

segment::segment(std::size_t bytes) : bytes_(bytes) {
  file_ = file_descriptor(static_cast<int>(os::check(os::anonymous_file("tandem pool", bytes), "memfd_create")));
  os::check(os::reserve(file_.get(), 0, bytes), "fallocate");
  memory_ = static_cast<std::byte*>(os::map(file_.get(), 0, bytes));
  if (memory_ == nullptr) os::throw_failed("mmap", errno);
}

segment::segment(file_descriptor file, std::size_t bytes) : file_(std::move(file)), bytes_(bytes) {
  if (!os::sealed_at(file_.get(), bytes))
    throw decode_error("tandem: what a worker sent is no memory of the size it said");
  memory_ = static_cast<std::byte*>(os::map(file_.get(), 0, bytes));
  if (memory_ == nullptr) os::throw_failed("mmap", errno);
}

segment::~segment() {
  if (memory_ != nullptr) os::unmap(memory_, bytes_);
}

segment::segment(segment&& other) noexcept
    : file_(std::move(other.file_)),
      memory_(std::exchange(other.memory_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

segment& segment::operator=(segment&& other) noexcept {
  segment taken(std::move(other));
  std::swap(file_, taken.file_);
  std::swap(memory_, taken.memory_);
  std::swap(bytes_, taken.bytes_);
  return *this;
}

}  // namespace tandem::pools
