#include "worker/server_link.hpp"

#include <cerrno>

#include "os/kernel.hpp"

namespace tandem::worker {

server_link::answer server_link::ask(const request& asked, std::span<const std::byte> rest,
                                     std::span<const int> descriptors) {
  answer result;
  const std::lock_guard lock(asking_);
  if (broken()) {
    result.how = outcome::unsent;
    return result;
  }
  const int sent = os::send(socket_.get(), {bytes_of(asked), rest}, descriptors);
  if (sent == -EPIPE || sent == -ECONNRESET || sent == -ENOTCONN) {
    broken_.store(true, std::memory_order_release);
    result.how = outcome::unsent;
    return result;
  }
  os::check(sent, "sendmsg");
  std::array<std::byte, sizeof(reply) + kept_error_bytes> bytes;
  os::message got = os::receive_answer(socket_.get(), bytes);
  if (got.size == 0 || !read_message(result.said, bytes)) {
    broken_.store(true, std::memory_order_release);
    return result;
  }
  result.how = outcome::answered;
  result.descriptors = std::move(got.descriptors);
  if (got.size > static_cast<long>(sizeof(reply))) {
    result.text.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof(reply),
                       static_cast<std::size_t>(got.size) - sizeof(reply));
  }
  result.descriptor_lost = got.descriptors_lost;
  return result;
}

}  // namespace tandem::worker
