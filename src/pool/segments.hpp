#pragma once
// Shared memory for what is too large for a slot. It is made in sizes of powers of two and used again, since the first touch
// of a page costs a hundred times what the later ones do.
#include <cstddef>
#include <cstdint>
#include <span>

#include <tandem/file_descriptor.hpp>

namespace tandem::pools {

constexpr std::size_t least_segment_bytes = std::size_t{64} << 10;
constexpr std::size_t most_kept_bytes = std::size_t{256} << 20;  // of one worker, in one direction

/// A mapped memfd that cannot be resized.
class segment {
 public:
  segment() noexcept = default;
  /// A new one for so many bytes, whose memory is reserved. Errors: resource_exhausted.
  explicit segment(std::size_t bytes);
  /// What the other side made. Errors: decode_error if it is not of that size; resource_exhausted.
  segment(file_descriptor file, std::size_t bytes);
  ~segment();
  segment(segment&&) noexcept;
  segment& operator=(segment&&) noexcept;

  std::size_t size() const noexcept { return bytes_; }
  std::span<std::byte> bytes() const noexcept { return {memory_, bytes_}; }
  int descriptor() const noexcept { return file_.get(); }
  void close_descriptor() noexcept { file_ = {}; }
  explicit operator bool() const noexcept { return memory_ != nullptr; }

 private:
  file_descriptor file_;
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The size of segment that so many bytes are put into. Errors: std::length_error.
std::size_t segment_bytes(std::size_t needed);

}  // namespace tandem::pools
