#include "channel/packets.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <tandem/detail/channel_values.hpp>
#include <tandem/error.hpp>
#include <tandem/transfer.hpp>

#include "channel/staging.hpp"
#include "channel/waiting.hpp"

namespace tandem::channel {

namespace {

/// Goes with a message whose bytes are in a file: the kernel counts what waits in a socket, and this stands for them.
std::array<std::byte, most_in_packet> weight{};  // never written to

constexpr std::size_t small_copy = 1024;  // bytes, which are copied sooner than the kernel has read a list of parts

std::span<const std::byte> bytes_of(const frame& f) { return std::as_bytes(std::span(&f, 1)); }

[[noreturn]] void throw_died_inside() {
  throw broken_connection("tandem: the sender died while it sent this message, which is lost");
}

[[noreturn]] void throw_no_receiver() {
  throw broken_connection("tandem: nobody is left who could receive this message");
}

[[noreturn]] void throw_too_large(std::size_t bytes, std::size_t room) {
  throw std::length_error("tandem: the message has " + std::to_string(bytes) + " bytes, and there is room for " +
                          std::to_string(room) + "; it waits for the next call");
}

[[noreturn]] void throw_no_handles() { throw broken_connection("tandem: a message came without all of its handles"); }

[[noreturn]] void throw_lost_handles() {
  os::throw_failed("recvmsg", EMFILE, "no descriptor was free for what came with a message; the message is lost");
}

}  // namespace

/// Its bytes after the frame are in the memory that the sink has for any message, if that is used; or in `lead` and in the
/// place that it has for this one; what is more, in `memory`.
struct packets::packet {
  frame head = {};
  staging memory = {};
  std::size_t bytes = 0;  // after the frame
  std::vector<file_descriptor> descriptors = {};
  frame foreseen = {};
  std::array<std::byte, sink::lead_bytes> lead = {};
  std::array<std::byte, sink::lead_bytes> foreseen_lead = {};
  std::span<std::byte> place = {};
  std::span<std::byte> direct = {};

  packet() = default;
  packet(const packet&) = delete;
  packet& operator=(const packet&) = delete;
  ~packet() { os::discard(descriptors); }
  bool as_foreseen() const noexcept {
    return !place.empty() && head.bytes == foreseen.bytes && lead == foreseen_lead && bytes == head.bytes;
  }
  std::vector<std::byte> gathered(std::span<const std::byte> first, std::span<const std::byte> second) {
    std::vector<std::byte> all;
    all.reserve(bytes);
    for (const std::span<const std::byte> part : {first, second, std::span<const std::byte>(memory.touched(bytes))}) {
      const auto more = part.first(std::min(part.size(), bytes - all.size()));
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }
};

begun_message::~begun_message() {
  os::discard(handles);
  os::discard(std::span(&source, source ? 1 : 0));
}

packets::packets(file_descriptor socket, packet_options options)
    : socket_(std::move(socket)),
      most_bytes_(options.most_bytes),
      answer_(options.first_answer),
      welcome_deadline_(options.welcome_deadline) {}

// ---- sending ------------------------------------------------------------------------------------------------------

// The buffer is made larger for the first large message, so that the kernel holds no more than it needs for small ones.
std::size_t packets::packet_limit() {
  const std::size_t known = packet_limit_.load(std::memory_order_relaxed);
  if (known != 0) {
    int apart = keep_apart_.load(std::memory_order_relaxed);
    if (apart == 0) return known;
    keep_apart_.compare_exchange_strong(apart, apart - 1, std::memory_order_relaxed);
    return most_in_small_packet;
  }
  constexpr std::size_t around = 32 + sizeof(frame);  // what the kernel wants to be free beside a packet
  const long room = os::widen_send_buffer(socket_.get(), most_in_packet + around);
  const auto bytes = room > static_cast<long>(around) ? static_cast<std::size_t>(room) - around : 0;
  const std::size_t most = std::clamp(bytes, most_in_small_packet, most_in_packet);
  packet_limit_.store(most, std::memory_order_relaxed);
  return most;
}

bool packets::send(const outgoing& o, clock::time_point deadline) {
  const std::size_t total = o.head.size() + o.body.size();
  check_size(total, most_bytes_);
  if (awaits()) greet(os::now);
  const bool fits = total <= most_in_small_packet || total <= packet_limit();
  if (!fits || o.handles.size() > os::most_descriptors) return send_apart(o, deadline);
  frame f;
  f.bytes = total;
  f.handles = o.handles.size();
  std::array<int, os::most_descriptors> descriptors;
  for (std::size_t i = 0; i < o.handles.size(); ++i) descriptors[i] = o.handles[i].get();
  const outcome came = send_packet(f, o, std::span(descriptors).first(o.handles.size()), deadline);
  if (came != outcome::no_room) return came == outcome::sent;
  constexpr int next_ones = 64;  // each failure has had the kernel search its memory
  keep_apart_.store(next_ones, std::memory_order_relaxed);
  return send_apart(o, deadline);
}

packets::outcome packets::send_packet(const frame& f, const outgoing& o, std::span<const int> descriptors,
                                      clock::time_point deadline) {
  for (;;) {
    const clock::time_point until = awaits() ? std::min(deadline, welcome_deadline_) : deadline;
    const int failed = until == os::never ? os::send(socket_.get(), {bytes_of(f), o.head, o.body}, descriptors)
                                          : os::send_now(socket_.get(), {bytes_of(f), o.head, o.body}, descriptors);
    if (failed == 0) return outcome::sent;
    if (failed == -EPIPE || failed == -ECONNRESET) throw_no_receiver();
    const bool is_large = o.head.size() + o.body.size() > most_in_small_packet;
    if (is_large && (failed == -ENOBUFS || failed == -EMSGSIZE)) return outcome::no_room;
    // Also without a deadline, if the program made the descriptor non-blocking.
    if (failed != -EAGAIN) os::throw_failed("sendmsg", -failed);
    if (wait_until_writable(socket_.get(), until)) continue;
    if (until == deadline) return outcome::late;
    greet(os::now);  // throws, unless there is an answer by now
  }
}

namespace {

/// A socket with the handles in it, packet by packet: nobody writes to it any more.
file_descriptor box_of(std::span<const file_descriptor> handles) {
  std::array<file_descriptor, 2> ends;
  os::check(os::socket_pair(ends), "socketpair");
  std::array<int, os::most_descriptors> lot;
  const std::byte mark{};
  while (!handles.empty()) {
    const std::size_t count = std::min(handles.size(), lot.size());
    for (std::size_t i = 0; i < count; ++i) lot[i] = handles[i].get();
    const int failed = os::send_now(ends[0].get(), {std::span(&mark, 1)}, std::span(lot).first(count));
    if (failed != 0) {
      os::throw_failed("sendmsg", failed == -EAGAIN ? ENOBUFS : -failed, "a message has more handles than can be sent");
    }
    handles = handles.subspan(count);
  }
  return std::move(ends[1]);
}

std::vector<file_descriptor> unbox(file_descriptor& box, std::size_t count, bool wanted) {
  std::vector<file_descriptor> handles;
  if (!os::is_socket(box.get())) throw_no_handles();
  if (!wanted) {
    os::discard_packets(std::move(box));
    return handles;
  }
  while (handles.size() < count) {
    std::byte mark{};
    os::message lot = os::receive_parts_now(box.get(), {std::span(&mark, 1)});
    if (lot.descriptors_lost) throw_lost_handles();
    if (lot.size != 1 || lot.descriptors.empty()) throw_no_handles();
    handles.insert(handles.end(), std::make_move_iterator(lot.descriptors.begin()),
                   std::make_move_iterator(lot.descriptors.end()));
  }
  return handles;
}

/// A sealed memfd that holds the message.
file_descriptor memory_of(const outgoing& o) {
  const std::size_t total = o.head.size() + o.body.size();
  file_descriptor file(static_cast<int>(os::check(os::anonymous_file("tandem message", total), "memfd_create")));
  os::check(os::write_at(file.get(), o.head, 0), "pwrite");
  os::check(os::write_at(file.get(), o.body, o.head.size()), "pwrite");
  return file;
}

}  // namespace

bool packets::send_apart(const outgoing& o, clock::time_point deadline) {
  frame f;
  f.bytes = o.head.size() + o.body.size();
  f.handles = o.handles.size();
  const bool large = f.bytes > most_in_small_packet;
  std::vector<int> descriptors;
  descriptors.reserve(os::most_descriptors);
  file_descriptor box;
  if (o.handles.size() + (large ? 1 : 0) > os::most_descriptors) {
    box = box_of(o.handles);
    f.apart |= handles_apart;
    descriptors.push_back(box.get());
  } else {
    for (const file_descriptor& handle : o.handles) descriptors.push_back(handle.get());
  }
  if (!large) return send_packet(f, o, descriptors, deadline) == outcome::sent;

  f.apart |= payload_apart;
  if (deadline != os::never) {
    const file_descriptor memory = memory_of(o);
    descriptors.push_back(memory.get());
    const std::size_t heavy = std::clamp(f.bytes / 8, most_in_small_packet, packet_limit());
    outcome came = send_packet(f, {std::span(weight).first(heavy), {}, {}}, descriptors, deadline);
    if (came == outcome::no_room)
      came = send_packet(f, {std::span(weight).first(most_in_small_packet), {}, {}}, descriptors, deadline);
    return came == outcome::sent;
  }
  greet(os::never);  // nobody would take it out of the stream
  std::array<file_descriptor, 2> stream;
  os::check(os::stream_pair(stream), "socketpair");
  descriptors.push_back(stream[1].get());
  send_packet(f, {}, descriptors, deadline);
  stream[1] = {};  // only the receiver has it now, so that its end is seen
  write_payload(stream[0].get(), o);
  return true;
}

void packets::write_payload(int stream, const outgoing& o) {
  std::span<const std::byte> head = o.head;
  std::span<const std::byte> body = o.body;
  while (!head.empty() || !body.empty()) {
    const long sent = os::send_bytes(stream, {head, body});
    if (sent == -EPIPE || sent == -ECONNRESET) {
      // Who took the message is gone, or threw it away: it was received. Unless nobody ever can.
      if (os::hung_up(socket_.get())) throw_no_receiver();
      return;
    }
    if (sent < 0) os::throw_failed("sendmsg", static_cast<int>(-sent), "the message was sent in part, and is lost");
    const auto n = static_cast<std::size_t>(sent);
    const std::size_t of_head = std::min(n, head.size());
    head = head.subspan(of_head);
    body = body.subspan(n - of_head);
  }
}

// ---- receiving ----------------------------------------------------------------------------------------------------

namespace {
/// What came with a message, and is not of the value.
struct unwanted_handles {
  sink& of;
  ~unwanted_handles() { os::discard(of.handles); }
};
}  // namespace

arrival packets::receive(sink& into, clock::time_point deadline) {
  const unwanted_handles rest{into};
  if (has_begun_.load(std::memory_order_acquire)) {  // pairs with the release store of keep()
    std::unique_lock lock(mutex_);
    if (!begun_.empty()) {
      begun_message m = std::move(begun_.front());
      begun_.pop_front();
      has_begun_.store(!begun_.empty(), std::memory_order_release);
      lock.unlock();
      return finish(std::move(m), into, deadline, true);
    }
  }
  if (awaits() && !greet(deadline)) return arrival::none;
  packet p;
  const arrival came = next_packet(p, into, deadline);
  return came == arrival::message ? deliver(p, into, deadline) : came;
}

os::message packets::receive_packet(packet& p, bool may_wait) const {
  const std::span<std::byte> head = std::as_writable_bytes(std::span(&p.head, 1));
  const auto into = [&](std::initializer_list<std::span<std::byte>> parts) {
    return may_wait ? os::receive_parts(socket_.get(), parts) : os::receive_parts_now(socket_.get(), parts);
  };
  if (!p.place.empty()) return into({head, p.lead, p.place, p.memory.all()});
  if (!p.direct.empty()) return into({head, p.direct, p.memory.all()});
  os::message got = into({p.memory.framed()});
  if (got.size >= static_cast<long>(head.size())) std::memcpy(head.data(), p.memory.framed().data(), head.size());
  return got;
}

// none at the deadline; closed at the end.
arrival packets::next_packet(packet& p, sink& into, clock::time_point deadline) {
  os::message got;
  for (;;) {
    const bool at_place = expects_large_messages_.load(std::memory_order_relaxed) && into.has_place();
    if (at_place) look_ahead(p, into, deadline == os::never);
    if (p.place.empty() && into.direct().size() > small_copy) p.direct = into.direct();
    got = receive_packet(p, deadline == os::never);
    if (got.size == -ECONNRESET) continue;  // told once, of a peer that left before it read all; what it sent follows
    if (got.size != -EAGAIN) break;
    if (!wait_until_readable(socket_.get(), deadline)) return arrival::none;
  }
  if (got.size == 0) return arrival::closed;
  if (got.size == -EMSGSIZE) throw broken_connection("tandem: what came is no message of tandem: it is too large");
  if (got.size < 0) os::throw_failed("recvmsg", static_cast<int>(-got.size));
  if (static_cast<std::size_t>(got.size) < sizeof(frame)) p.head.magic = 0;
  check_frame(p.head, most_bytes_);
  if (got.descriptors_lost) throw_lost_handles();
  p.bytes = static_cast<std::size_t>(got.size) - sizeof(frame);
  p.descriptors = std::move(got.descriptors);
  if ((p.head.kind != frame_kind::message) != awaits())
    throw broken_connection("tandem: what came is not what a listener of tandem sends");
  const bool is_large = p.head.bytes > most_in_small_packet;
  if (expects_large_messages_.load(std::memory_order_relaxed) != is_large)
    expects_large_messages_.store(is_large, std::memory_order_relaxed);
  return arrival::message;
}

// So that a large message goes straight to where it belongs. Another receiver may take it first.
void packets::look_ahead(packet& p, sink& into, bool may_wait) const {
  p.place = {};
  std::array<std::byte, sizeof(frame) + sink::lead_bytes> beginning;
  const long size = may_wait ? os::peek(socket_.get(), beginning) : os::peek_now(socket_.get(), beginning);
  if (size <= static_cast<long>(most_in_small_packet)) return;  // also of an error: the receiving itself meets it
  std::memcpy(&p.foreseen, beginning.data(), sizeof(frame));
  std::copy_n(beginning.begin() + sizeof(frame), sink::lead_bytes, p.foreseen_lead.begin());
  const std::size_t total = static_cast<std::size_t>(size) - sizeof(frame);
  if (total > most_bytes_ || total > most_in_packet || p.foreseen.bytes != total) return;
  try {
    p.place = into.place(total, p.foreseen_lead);
  } catch (const std::bad_alloc&) {  // what takes it from the memory here says so, and it costs the message
  }
}

arrival packets::deliver(packet& p, sink& into, clock::time_point deadline) {
  const bool boxed = (p.head.apart & handles_apart) != 0;
  const bool streamed = (p.head.apart & payload_apart) != 0;
  if (p.descriptors.size() != (boxed ? 1 : p.head.handles) + (streamed ? 1 : 0) ||
      (!streamed && p.bytes != p.head.bytes)) {
    throw broken_connection("tandem: a message came that is not what its first bytes say");
  }
  begun_message m;
  m.head = p.head;
  if (streamed) {
    m.source = std::move(p.descriptors.back());
    p.descriptors.pop_back();
    m.in_memory = !os::is_socket(m.source.get());
    // A file may claim any size at no cost, and what is not sealed could be cut short while it is read.
    if (m.in_memory && (!os::sealed_at(m.source.get(), m.head.bytes) ||
                        os::stored_bytes(m.source.get()) < static_cast<long>(m.head.bytes)))
      throw broken_connection("tandem: a message came without its bytes");
  }
  m.handles =
      boxed ? unbox(p.descriptors.front(), m.head.handles, into.takes_handles()) : std::exchange(p.descriptors, {});
  if (streamed) {
    p.memory.touched(p.bytes);
    return finish(std::move(m), into, deadline, false);
  }

  if (p.bytes <= into.limit()) {
    into.handles = std::move(m.handles);
    if (p.as_foreseen()) {
      into.filled();
    } else if (!p.place.empty()) {
      into.owned(p.gathered(p.lead, p.place));
    } else {
      into.whole(p.direct.empty() ? p.memory.touched(p.bytes) : p.direct.first(p.bytes));
    }
    return arrival::message;
  }
  m.bytes = p.gathered(p.direct, {});
  m.filled = p.bytes;
  keep(std::move(m), false);
  throw_too_large(p.bytes, into.limit());
}

arrival packets::finish(begun_message&& m, sink& into, clock::time_point deadline, bool resumed) {
  const std::size_t total = m.head.bytes;
  if (total > into.limit()) {
    keep(std::move(m), resumed);
    throw_too_large(total, into.limit());
  }
  if (m.in_memory || (deadline == os::never && m.filled == 0 && !m.died)) {
    into.handles = std::move(m.handles);
    for (std::size_t filled = 0; filled < total;) {
      const std::span<std::byte> room = into.room(total, filled);
      const auto wanted = room.first(std::min(room.size(), total - filled));
      if (m.in_memory) {
        os::check(os::read_at(m.source.get(), wanted, filled), "pread");
        filled += wanted.size();
        continue;
      }
      const long n = os::receive_bytes(m.source.get(), wanted);
      if (n == -EAGAIN) {
        wait_until_readable(m.source.get(), os::never);
        continue;
      }
      if (n <= 0) throw_died_inside();
      filled += static_cast<std::size_t>(n);
    }
    into.filled();
    return arrival::message;
  }
  m.assemble(deadline);
  if (m.died) throw_died_inside();
  if (!m.complete()) {
    keep(std::move(m), resumed);
    return arrival::none;
  }
  into.handles = std::move(m.handles);
  into.owned(std::move(m.bytes));
  return arrival::message;
}

void begun_message::assemble(clock::time_point deadline) {
  if (complete() || in_memory || died) return;
  do {
    while (!complete()) {
      const std::span<std::byte> room = detail::grow(bytes, head.bytes, filled);
      const long n = os::receive_bytes_now(source.get(), room);
      if (n == -EAGAIN) break;
      if (n <= 0) {
        died = true;
        return;
      }
      filled += static_cast<std::size_t>(n);
    }
  } while (!complete() && wait_until_readable(source.get(), deadline));
}

void packets::keep(begun_message&& m, bool resumed) {
  const std::lock_guard lock(mutex_);
  if (resumed) {
    begun_.push_front(std::move(m));
  } else {
    begun_.push_back(std::move(m));
  }
  has_begun_.store(true, std::memory_order_release);
}

bool packets::ready() {
  if (has_begun_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(mutex_);
    if (!begun_.empty()) {
      begun_message& m = begun_.front();
      m.assemble(os::now);
      return m.complete() || m.in_memory || m.died;
    }
  }
  if (!awaits()) return ready_now(socket_.get());
  try {
    return greet(os::now) && ready_now(socket_.get());
  } catch (const broken_connection&) {
    return true;  // receive() says so again
  } catch (const timed_out&) {
    return true;
  }
}

detail::wait_state packets::look() {
  if (has_begun_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(mutex_);
    if (!begun_.empty()) {
      const begun_message& m = begun_.front();
      return {m.source.get(), m.complete() || m.in_memory || m.died, true};
    }
  }
  return {socket_.get(), false, awaits(), awaits() ? welcome_deadline_ : os::never};
}

// ---- the listener's answer ----------------------------------------------------------------------------------------

// False if it is still to come. One thread at a time: what follows the answer is none.
bool packets::take_answer() {
  const std::lock_guard lock(mutex_);
  if (!awaits()) return true;
  if (answer_.load(std::memory_order_relaxed) == answer::refusal) throw_refused();
  detail::bytes_sink nothing;
  packet p;
  const arrival came = next_packet(p, nothing, os::now);
  if (came == arrival::closed) throw_hung_up();
  if (came == arrival::none) return false;
  const bool welcome = p.head.kind == frame_kind::welcome;
  answer_.store(welcome ? answer::welcome : answer::refusal, std::memory_order_relaxed);
  if (!welcome) throw_refused();
  return true;
}

bool packets::greet(clock::time_point deadline) {
  while (awaits() && !take_answer()) {
    if (wait_until_readable(socket_.get(), std::min(deadline, welcome_deadline_))) continue;
    if (!awaits()) break;  // another thread took it
    if (clock::now() >= welcome_deadline_) throw_no_answer();
    return false;
  }
  return true;
}

void packets::write(writer& w) {
  if (!greet(welcome_deadline_)) throw_no_answer();
  if (has_begun_.load(std::memory_order_acquire)) {
    throw tandem::error(
        "tandem: this end holds a message that was received in part, or did not fit; receive it before the end is "
        "passed on");
  }
  w(static_cast<std::uint64_t>(most_bytes_));
  detail::wire::attach(w, socket_);
}

}  // namespace tandem::channel
