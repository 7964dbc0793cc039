#include "channel/frame.hpp"

#include <stdexcept>
#include <string>

#include <tandem/error.hpp>

namespace tandem::channel {

void check_frame(const frame& f, std::size_t most_bytes) {
  if (f.magic != frame::right_magic) {
    throw broken_connection("tandem: what came is no message of tandem, or of a machine with another byte order");
  }
  if (f.version != frame::right_version) {
    throw broken_connection("tandem: the peer sends messages of version " + std::to_string(f.version) +
                            ", and this program reads version " + std::to_string(frame::right_version) +
                            ": build both with the same tandem");
  }
  if (f.kind == frame_kind::challenge)
    throw authentication_failed("tandem: the listener asks for a key: connect with the same .key");
  if (f.kind < frame_kind::message || f.kind > frame_kind::refusal)
    throw broken_connection("tandem: a message of a kind that there is not");
  if (f.bytes > no_limit) {
    throw broken_connection("tandem: the peer announces a message of " + std::to_string(f.bytes) +
                            " bytes, which fit into no memory");
  }
  if (f.bytes > most_bytes) {
    throw broken_connection("tandem: the peer announces a message of " + std::to_string(f.bytes) +
                            " bytes, and max_message_bytes is " + std::to_string(most_bytes));
  }
}

void check_size(std::size_t bytes, std::size_t most_bytes) {
  if (bytes <= most_bytes) return;
  throw std::length_error("tandem: a message of " + std::to_string(bytes) + " bytes, and max_message_bytes is " +
                          std::to_string(most_bytes));
}

}  // namespace tandem::channel
