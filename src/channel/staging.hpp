#pragma once
// Memory for one packet of unknown size.
#include <algorithm>
#include <memory>
#include <span>

#include "channel/frame.hpp"

namespace tandem::channel {

/// The thread's own, unless it is in use: what a message is decoded by may receive another one. Most of it is never
/// touched, and takes address space only; what a large message has touched is not kept.
class staging {
 public:
  staging() : memory_(std::move(spare)) {
    if (!memory_) memory_ = std::make_unique_for_overwrite<std::byte[]>(sizeof(frame) + most_in_packet);
  }
  staging(const staging&) = delete;
  staging& operator=(const staging&) = delete;
  ~staging() {
    if (touched_ <= most_in_small_packet) spare = std::move(memory_);
  }

  /// Room for a frame, and after it all().
  std::span<std::byte> framed() const noexcept { return {memory_.get(), sizeof(frame) + most_in_packet}; }
  std::span<std::byte> all() const noexcept { return framed().subspan(sizeof(frame)); }
  /// The first `bytes` of it, or all.
  std::span<std::byte> touched(std::size_t bytes) noexcept {
    touched_ = std::min(std::max(touched_, bytes), most_in_packet);
    return all().first(std::min(bytes, most_in_packet));
  }

 private:
  std::size_t touched_ = 0;
  static thread_local std::unique_ptr<std::byte[]> spare;
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace tandem::channel
