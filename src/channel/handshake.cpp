#include "channel/handshake.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <tandem/error.hpp>

#include "channel/stream.hpp"
#include "channel/waiting.hpp"

namespace tandem::channel {

namespace {

[[noreturn]] void throw_no_tandem() {
  throw broken_connection("tandem: the peer is no tandem, or hung up while it shook hands");
}
[[noreturn]] void throw_not_proven() {
  throw authentication_failed("tandem: the peer did not prove that it has the same .key");
}

digest proof_of(const std::string& key, const char* who, const hello& h, const challenge& c) {
  const std::string label = std::string("tandem ") + who + " 1";
  return authenticate(key, {std::as_bytes(std::span(label.data(), label.size())), std::as_bytes(std::span(&h, 1)),
                            std::as_bytes(std::span(&c, 1))});
}

}  // namespace

// ---- greetings ----------------------------------------------------------------------------------------------------

bool line::take_bytes(std::span<std::byte> all) {
  if (!bytes_) {
    os::message got = os::receive_now(socket_.get(), all);
    os::discard(got.descriptors);
    if (got.size == -EAGAIN) return false;
    if (got.size != static_cast<long>(all.size()) || !got.descriptors.empty()) throw_no_tandem();
    return true;
  }
  while (taken_ < all.size()) {
    const long n = bytes_->read(all.subspan(taken_), false);
    if (n == -EAGAIN) return false;
    if (n <= 0) throw_no_tandem();
    taken_ += static_cast<std::size_t>(n);
    // What is no greeting is known by its first bytes: there may be no more of it.
    std::uint16_t magic = 0;
    std::memcpy(&magic, all.data(), sizeof magic);
    if (taken_ >= sizeof magic && magic != frame::right_magic) throw_no_tandem();
  }
  taken_ = 0;
  return true;
}

void line::check(const greeting_head& head, greeting_kind expected) {
  if (head.magic != frame::right_magic) throw_no_tandem();
  if (head.version != frame::right_version) {
    throw broken_connection("tandem: the peer speaks version " + std::to_string(head.version) + ", and this program " +
                            std::to_string(frame::right_version) + ": build both with the same tandem");
  }
  if (head.kind != expected) throw_no_tandem();
}

bool line::give(std::span<const std::byte> bytes) {
  if (!bytes_) return os::send_now(socket_.get(), {bytes}) == 0;
  return bytes_->write({bytes}, false) == static_cast<long>(bytes.size());
}

void line::hang_up() noexcept {
  if (socket_) os::discard_packets(std::move(socket_));
}

std::shared_ptr<detail::channel_core> line::into_core(packet_options options) && {
  if (bytes_) return std::make_shared<stream>(std::move(bytes_), options);
  return std::make_shared<packets>(std::move(socket_), options);
}

// ---- the listener's side ------------------------------------------------------------------------------------------

reception::reception(line l, tls_bytes* tls, const std::string& key, clock::time_point deadline)
    : line_(std::move(l)),
      tls_(tls),
      key_(key),
      deadline_(deadline),
      stage_(tls != nullptr ? stage::encryption : stage::greeting) {}

reception::~reception() {
  if (os::own_pid() == owner_) line_.hang_up();
}

bool reception::step() {
  if (stage_ == stage::encryption) {
    if (!tls_->shake()) return false;
    stage_ = stage::greeting;
  }
  if (stage_ == stage::greeting) {
    if (!line_.take(hello_)) return false;
    stage_ = stage::done;
    if (key_.empty()) {
      if (hello_.head.wants_proof == 0) return true;
      line_.give(challenge_);  // with nothing in it: there is no key here
      throw authentication_failed("tandem: a client asked for a key, and this listener has none");
    }
    challenge_.head.wants_proof = 1;
    fill_random(challenge_.nonce);
    // Also to one that has no key: so it learns that it needs one.
    if (!line_.give(challenge_) || hello_.head.wants_proof == 0) throw_not_proven();
    stage_ = stage::proving;
  }
  if (stage_ == stage::proving) {
    try {
      if (!line_.take(proof_)) return false;
    } catch (const broken_connection&) {
      throw_not_proven();
    }
    if (!same(proof_.mac, proof_of(key_, "client", hello_, challenge_))) throw_not_proven();
    proof own;
    own.mac = proof_of(key_, "listener", hello_, challenge_);
    line_.give(own);  // a client that has gone meanwhile is found out by what it sent, or did not
    stage_ = stage::done;
  }
  return true;
}

std::shared_ptr<detail::channel_core> reception::conclude(bool types_fit, packet_options options) && {
  frame last;
  last.kind = types_fit ? frame_kind::welcome : frame_kind::refusal;
  line_.give(last);
  if (!types_fit) return nullptr;
  return std::move(line_).into_core(options);
}

// ---- the client's side --------------------------------------------------------------------------------------------

namespace {

template <class Greeting>
void await(line& l, Greeting& g, clock::time_point deadline, const attention& attend) {
  while (!l.take(g)) {
    if (!wait_for_listener(l.descriptor(), false, deadline, attend)) throw_no_answer();
  }
}

void exchange_proofs(line& l, const hello& h, const std::string& key, clock::time_point deadline,
                     const attention& attend) {
  challenge c;
  await(l, c, deadline, attend);
  if (c.head.wants_proof == 0) throw_not_proven();
  proof own;
  own.mac = proof_of(key, "client", h, c);
  if (!l.give(own)) throw_not_proven();
  proof theirs;
  try {
    await(l, theirs, deadline, attend);
  } catch (const broken_connection&) {
    throw_not_proven();
  }
  if (!same(theirs.mac, proof_of(key, "listener", h, c))) throw_not_proven();
}

}  // namespace

bool wait_for_listener(int fd, bool to_write, clock::time_point deadline, const attention& attend) {
  const auto wait = to_write ? wait_until_writable : wait_until_readable;
  constexpr nanoseconds a_moment = std::chrono::milliseconds(20);
  for (bool own = true; !wait(fd, own ? std::min(deadline, deadline_after(a_moment)) : deadline); own = attend()) {
    if (clock::now() >= deadline) return false;
  }
  return true;
}

std::shared_ptr<detail::channel_core> greet_listener(line l, hello h, const std::string& key, packet_options options,
                                                     const attention& attend) {
  if (!key.empty()) {
    h.head.wants_proof = 1;
    fill_random(h.nonce);
  }
  if (!l.give(h)) throw_hung_up();
  if (!key.empty()) exchange_proofs(l, h, key, options.welcome_deadline, attend);
  options.first_answer = answer::awaited;
  return std::move(l).into_core(options);
}

}  // namespace tandem::channel
