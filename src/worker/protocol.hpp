#pragma once
// The messages between a program, its keeper and its fork server: plain data over unix sockets, one datagram each.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace tandem::worker {

constexpr std::size_t most_inline_bytes = 4096;  // a larger call travels in a memfd
constexpr std::size_t most_name_bytes = 255;
constexpr std::size_t most_exception_bytes = 64 * 1024;  // of what the preload threw

enum class request_kind : std::uint32_t {
  start,    // + name, + call, or a memfd with the call
  sync,     // answered when the line of every worker that has ended is written
  fetch,    // the memfd with the result of an ended worker
  abandon,  // ends a worker whose pidfd did not arrive
};

struct request {
  request_kind kind{};
  std::uint32_t slot = 0;
  std::uint32_t name_bytes = 0;
  std::uint32_t call_in_memfd = 0;
};

struct reply {
  std::int32_t error = 0;               // an errno, or 0
  std::array<char, 28> operation = {};  // the system call that failed
  std::int32_t pid = 0;                 // of start; with it comes the pidfd
};

enum class door_kind : std::uint32_t {
  connect,  // + a socket and a ledger: this worker wants to start workers itself
  result,   // + a memfd
};

struct door_message {
  door_kind kind{};
};

// What the keeper says to the host.
enum class keeper_word : std::uint32_t {
  ready,          // the preload is done
  preload_threw,  // + an encoded exception
  server,         // + the socket of a new server
  failed,         // error, operation
};

struct keeper_message {
  keeper_word word{};
  std::int32_t error = 0;
  std::array<char, 28> operation = {};
  std::int32_t pid = 0;  // of the server
};

template <class Message>
std::span<const std::byte> bytes_of(const Message& message) {
  return std::as_bytes(std::span(&message, 1));
}

template <class Message>
bool read_message(Message& message, std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof message) return false;
  std::memcpy(&message, bytes.data(), sizeof message);
  return true;
}

template <std::size_t N>
void set_text(std::array<char, N>& to, std::string_view text) {
  to.fill('\0');
  std::memcpy(to.data(), text.data(), text.size() < N ? text.size() : N - 1);
}

template <std::size_t N>
std::string_view get_text(const std::array<char, N>& from) {  // also of a field that was never terminated
  return {from.data(), ::strnlen(from.data(), N)};
}

}  // namespace tandem::worker
