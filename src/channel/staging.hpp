#pragma once
// Memory for one packet of unknown size.
#include <memory>
#include <span>

#include "channel/frame.hpp"

namespace tandem::channel {

/// The thread's own, unless it is in use: what a message is decoded by may receive another one.
class staging {
 public:
  staging() : memory_(std::move(spare)) {
    if (!memory_) memory_ = std::make_unique_for_overwrite<std::byte[]>(most_in_packet);
  }
  staging(const staging&) = delete;
  staging& operator=(const staging&) = delete;
  ~staging() { spare = std::move(memory_); }

  std::span<std::byte> all() const noexcept { return {memory_.get(), most_in_packet}; }

 private:
  static thread_local std::unique_ptr<std::byte[]> spare;
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace tandem::channel
