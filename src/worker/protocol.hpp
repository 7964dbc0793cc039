#pragma once
// The messages between a program, its keeper and its fork server: plain data over unix sockets, one datagram each.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace tandem::worker {

constexpr std::size_t most_inline_bytes = 4096;    // a larger start_body travels in a memfd
constexpr std::size_t most_handles_at_once = 250;  // in one message, with room for a memfd
constexpr std::size_t most_name_bytes = 255;
constexpr std::size_t most_exception_bytes = 64 * 1024;  // of what the preload threw

enum class request_kind : std::uint32_t {
  start,    // + start_body, or a memfd with it as the first descriptor; + handles of the call
  handles,  // + more handles, for the start of that slot, which follows
  sync,   // of one that died, or could not be started; answered when the line of every worker that has ended is written
  fetch,  // the memfd with the result of an ended worker, and its handles; asked again while there are more
  errors,   // + the end of what a worker, now ended, wrote to standard error
  abandon,  // ends a worker whose pidfd did not arrive
};

enum class start_flag : std::uint32_t {
  none = 0,
  body_in_memfd = 1,
  fresh_image = 2,
  capture_stderr = 4,
  first_handles = 8
};
constexpr std::uint32_t bit(start_flag f) { return static_cast<std::uint32_t>(f); }

struct request {
  request_kind kind{};
  std::uint32_t slot = 0;
  std::uint32_t flags = 0;    // of start, and first_handles of handles
  std::uint32_t handles = 0;  // of start: how many belong to the call, those sent before included
};

// What a worker is told: name, setup and call follow, in this order.
struct start_body {
  std::uint32_t name_bytes = 0;
  std::uint32_t setup_bytes = 0;  // an encoded worker_setup; 0: nothing is to be set up
};

struct reply {
  std::int32_t error = 0;               // an errno, or 0
  std::array<char, 60> operation = {};  // the system call that failed
  std::int32_t pid = 0;                 // of start; with it comes the pidfd
  std::uint32_t more = 0;               // of fetch: handles that did not go into this message
  std::int32_t unsent = 0;              // an errno: what should have come with it could not be sent
};
constexpr std::size_t kept_error_bytes = 4096;  // of a worker's standard error

enum class door_kind : std::uint32_t {
  connect,  // + a socket and a ledger: this worker wants to start workers itself
  handles,  // + handles of the result
  result,   // + a memfd, and the last handles
  watch,    // + a pidfd: a copy of this worker, whose end others are to learn of
};

struct door_message {
  door_kind kind{};
  std::uint32_t process = 0;  // of watch: the copy's handle in the session page
};

// What the keeper says to the host.
enum class keeper_word : std::uint32_t {
  ready,          // the preload is done
  preload_threw,  // + an encoded exception
  server,         // + the socket of a new server
  failed,         // error, operation
  watch,          // from the host, + a pidfd, with its pid: a copy of the host, which ends with it
};

constexpr const char* namespace_operation = "clone3(CLONE_NEWPID)";

struct keeper_message {
  keeper_word word{};
  std::int32_t error = 0;
  std::array<char, 28> operation = {};
  std::int32_t pid = 0;       // of the server
  std::uint32_t process = 0;  // of watch: its handle in the session page
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
