#pragma once
// How a client and a listener find out that they fit.
//
//   client                                listener
//   hello: version, types, a nonce    →
//                                     ←   challenge: a nonce               only with a key: this, and the proofs
//   proof, that it has the key        →
//                                     ←   proof, that it has the key
//                                     ←   welcome, or refusal of the types (frame.hpp)
//
// A proof is HMAC-SHA-256 over a label, the hello and the challenge: neither side's proof is of use to somebody who
// repeats or reflects it. The client proves first. Who fails is hung up on, and told nothing.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "channel/bytes.hpp"
#include "channel/core.hpp"
#include "channel/crypto.hpp"
#include "channel/frame.hpp"
#include "channel/packets.hpp"

namespace tandem::channel {

enum class greeting_kind : std::uint8_t {
  challenge = static_cast<std::uint8_t>(frame_kind::challenge),
  hello = 16,
  proof
};

struct greeting_head {
  std::uint16_t magic = frame::right_magic;
  std::uint8_t version = frame::right_version;
  greeting_kind kind{};
  std::uint8_t wants_proof = 0;
  std::uint8_t unused[3] = {};
};
struct hello {
  greeting_head head{.kind = greeting_kind::hello};
  std::uint64_t sends = 0;
  std::uint64_t receives = 0;
  std::array<std::byte, 32> nonce{};
};
struct challenge {
  greeting_head head{.kind = greeting_kind::challenge};
  std::array<std::byte, 32> nonce{};
};
struct proof {
  greeting_head head{.kind = greeting_kind::proof};
  digest mac{};
};
static_assert(sizeof(hello) == 56 && sizeof(challenge) == 40 && sizeof(proof) == 40);

/// A connection on which nothing but greetings went yet: of packets, or a stream of bytes.
class line {
 public:
  explicit line(file_descriptor packets) : socket_(std::move(packets)) {}
  explicit line(std::unique_ptr<byte_stream> bytes) : bytes_(std::move(bytes)) {}

  int descriptor() const noexcept { return bytes_ ? bytes_->socket().get() : socket_.get(); }
  bool is_stream() const noexcept { return bytes_ != nullptr; }
  /// Takes what has come of a greeting: true once it is all there. Never waits. Throws broken_connection if the peer hung
  /// up, or what came is none of that kind.
  template <class Greeting>
  bool take(Greeting& g) {
    const greeting_kind kind = g.head.kind;
    if (!take_bytes(std::as_writable_bytes(std::span(&g, 1)))) return false;
    check(g.head, kind);
    return true;
  }
  /// Sends all of it: it is small, and nothing else is in the socket's buffer. False if the peer is gone.
  bool give(std::span<const std::byte> bytes);
  template <class Greeting>
  bool give(const Greeting& g) {
    return give(std::as_bytes(std::span(&g, 1)));
  }
  std::shared_ptr<detail::channel_core> into_core(packet_options) &&;
  /// Of one that nobody else holds: what the peer has sent along goes without a wait.
  void hang_up() noexcept;

 private:
  bool take_bytes(std::span<std::byte> all);
  static void check(const greeting_head&, greeting_kind);

  file_descriptor socket_;
  std::unique_ptr<byte_stream> bytes_;
  std::size_t taken_ = 0;
};

/// The listener's side, step by step.
class reception {
 public:
  /// `tls`: nullptr, or the stream that `l` goes over.
  reception(line l, tls_bytes* tls, const std::string& key, clock::time_point deadline);
  reception(const reception&) = delete;
  reception& operator=(const reception&) = delete;
  ~reception();
  /// Goes on as far as it can without waiting: true once all but the welcome is done. Throws what accept() throws.
  bool step();
  int descriptor() const noexcept { return line_.descriptor(); }
  clock::time_point deadline() const noexcept { return deadline_; }
  const hello& client() const noexcept { return hello_; }
  /// The last word: what it is from now on, or nullptr if its types are others.
  std::shared_ptr<detail::channel_core> conclude(bool types_fit, packet_options) &&;

 private:
  enum class stage { encryption, greeting, proving, done };

  line line_;
  tls_bytes* tls_;
  const std::string& key_;  // of the listener, which outlives it
  clock::time_point deadline_;
  const pid_t owner_ = os::own_pid();  // a copy in a child made by fork() ends nothing
  stage stage_;
  hello hello_;
  challenge challenge_;
  proof proof_;
};

/// Waits for what the listener does next; false at the deadline. Who calls may be the one who would accept: where nobody
/// else does for a moment, `attend` lets listeners of this program go on, and is true if there are any.
using attention = std::function<bool()>;
bool wait_for_listener(int fd, bool to_write, clock::time_point deadline, const attention& attend);

/// The client's side, up to the answer, which the core it gives awaits.
std::shared_ptr<detail::channel_core> greet_listener(line l, hello, const std::string& key, packet_options,
                                                     const attention& attend);

}  // namespace tandem::channel
