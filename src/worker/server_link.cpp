#include "worker/server_link.hpp"

#include <cerrno>

#include "os/kernel.hpp"

namespace tandem::worker {

server_link::answer server_link::ask(const request& asked, std::span<const std::byte> name,
                                     std::span<const std::byte> call, int memfd) {
  answer result;
  const std::lock_guard lock(asking_);
  if (broken()) {
    result.how = outcome::unsent;
    return result;
  }
  const int sent =
      os::send(socket_.get(), {bytes_of(asked), name, call}, memfd < 0 ? std::span<const int>() : std::span(&memfd, 1));
  if (sent == -EPIPE || sent == -ECONNRESET || sent == -ENOTCONN) {
    broken_.store(true, std::memory_order_release);
    result.how = outcome::unsent;
    return result;
  }
  os::check(sent, "sendmsg");
  std::array<std::byte, sizeof(reply)> bytes;
  os::message got = os::receive_answer(socket_.get(), bytes);
  if (got.size == 0 || !read_message(result.said, bytes)) {
    broken_.store(true, std::memory_order_release);
    return result;
  }
  result.how = outcome::answered;
  result.descriptor = std::move(got.descriptors[0]);
  result.descriptor_lost = got.descriptors_lost;
  return result;
}

}  // namespace tandem::worker
