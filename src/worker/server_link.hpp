#pragma once
// One connection of this process to one fork server: requests and their replies, one at a time.
#include <atomic>
#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <tandem/file_descriptor.hpp>

#include "worker/protocol.hpp"

namespace tandem::worker {

class server_link {
 public:
  explicit server_link(file_descriptor socket) noexcept : socket_(std::move(socket)) {}

  enum class outcome {
    answered,
    unsent,  // the server was gone before: it knows nothing of the request
    lost,    // the server went while it had the request
  };
  struct answer {
    outcome how = outcome::lost;
    reply said;
    std::vector<file_descriptor> descriptors = {};
    std::string text = {};         // what followed the reply
    bool descriptor_lost = false;  // the table of descriptors of this process is full
  };
  /// Errors: resource_exhausted if this side cannot send or receive, and the server lives.
  answer ask(const request&, std::span<const std::byte> rest = {}, std::span<const int> descriptors = {});

  bool broken() const noexcept { return broken_.load(std::memory_order_acquire); }
  int descriptor() const noexcept { return socket_.get(); }

 private:
  file_descriptor socket_;
  std::mutex asking_;
  std::atomic<bool> broken_{false};
};

}  // namespace tandem::worker
