#pragma once
// What stands before each message.
#include <cstdint>

#include <tandem/bytes.hpp>

namespace tandem::channel {

enum class frame_kind : std::uint8_t {
  message = 1,
  welcome,    // from a listener, once: its types are those of the client
  refusal,    // instead: they are not, and the end follows
  challenge,  // instead: the listener asks for a key
};

/// How the bytes and the handles of a message travel, if not in the packet itself.
constexpr std::uint8_t payload_apart = 1;  // the last descriptor is a stream, or a memfd, that holds the bytes
constexpr std::uint8_t handles_apart = 2;  // the first one is a socket that holds the handles, packet by packet

/// In the order of this machine, which the first field shows.
struct frame {
  static constexpr std::uint16_t right_magic = 0x7d54;
  static constexpr std::uint8_t right_version = 1;

  std::uint16_t magic = right_magic;
  std::uint8_t version = right_version;
  frame_kind kind = frame_kind::message;
  std::uint8_t apart = 0;
  std::uint8_t unused[3] = {};
  std::uint64_t handles = 0;
  std::uint64_t bytes = 0;
};
static_assert(sizeof(frame) == 24);

/// A message of at most so many bytes is one packet.
constexpr std::size_t most_in_small_packet = 64_KiB;
/// One of at most so many is, where the kernel finds it a block of memory, and the socket's buffer may be that large.
constexpr std::size_t most_in_packet = 1_MiB + 4_KiB;
constexpr std::size_t no_limit = std::size_t{1} << 47;  // what the address space holds

/// Throws broken_connection, unless a message may begin like this.
void check_frame(const frame& f, std::size_t most_bytes);
/// For std::length_error: the message is larger than the limit that was agreed on.
void check_size(std::size_t bytes, std::size_t most_bytes);

}  // namespace tandem::channel
