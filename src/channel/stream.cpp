#include "channel/stream.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include <tandem/detail/channel_values.hpp>
#include <tandem/error.hpp>

#include "channel/waiting.hpp"

namespace tandem::channel {

namespace {

std::unique_lock<std::timed_mutex> lock_until(std::timed_mutex& mutex, clock::time_point deadline) {
  std::unique_lock lock(mutex, std::defer_lock);
  if (deadline == os::never) {
    lock.lock();
  } else if (!lock.try_lock()) {
    static_cast<void>(deadline != os::now && lock.try_lock_until(deadline));
  }
  return lock;
}

bool is_gone(long error) noexcept {
  return error == -EPIPE || error == -ECONNRESET || error == -ETIMEDOUT || error == -EHOSTUNREACH || error == -EPROTO;
}

constexpr const char* peer_gone = "tandem: the peer is gone";
constexpr const char* died_inside = "tandem: the peer died, or hung up, inside of a message";
constexpr const char* out_of_step = "tandem: this connection broke inside of a message";

}  // namespace

stream::stream(std::unique_ptr<byte_stream> bytes, packet_options options)
    : bytes_(std::move(bytes)),
      most_bytes_(options.most_bytes),
      welcome_deadline_(options.welcome_deadline),
      answer_(options.first_answer) {}

void stream::fail(const char* why) {
  broken_.store(true, std::memory_order_relaxed);
  os::shut_down(native_handle());  // the peer learns of it too
  throw broken_connection(why);
}

// ---- sending ------------------------------------------------------------------------------------------------------

// By the kernel's own count, which also has what it spends around the bytes: no more than that.
bool stream::has_room(std::size_t bytes) const {
  const auto size = static_cast<std::size_t>(os::check(os::send_buffer(native_handle()), "getsockopt"));
  const auto used = static_cast<std::size_t>(os::check(os::unsent(native_handle()), "ioctl(SIOCOUTQ)"));
  if (bytes > size / 2) {
    throw std::length_error("tandem: a message of " + std::to_string(bytes) +
                            " bytes is larger than the kernel's buffer of this connection, so that it cannot be sent "
                            "without a wait: use send() or send_for()");
  }
  return used <= size / 2 - bytes;
}

bool stream::send(const outgoing& o, clock::time_point deadline) {
  if (!o.handles.empty()) {
    throw std::invalid_argument(
        "tandem: descriptors and other handles cannot cross a TCP connection: they belong to one machine; use unix:");
  }
  frame f;
  f.bytes = o.head.size() + o.body.size();
  check_size(f.bytes, most_bytes_);
  const auto lock = lock_until(sending_, deadline);
  if (!lock) return false;
  if (broken_.load(std::memory_order_relaxed)) throw broken_connection(out_of_step);
  if (awaits()) require_answer();
  if (deadline == os::now && !has_room(sizeof f + f.bytes)) return false;

  std::span<const std::byte> left[] = {std::as_bytes(std::span(&f, 1)), o.head, o.body};
  bool begun = false;
  for (;;) {
    const clock::time_point bound = awaits() ? std::min(deadline, welcome_deadline_) : deadline;
    const bool all_taken = left[0].empty() && left[1].empty() && left[2].empty();
    // A timed one begins where there is much room: a message of up to a sixth of the buffer is taken whole then.
    const bool too_early = !begun && deadline != os::never && deadline != os::now && !writable_now(native_handle());
    const long sent = too_early   ? -EAGAIN
                      : all_taken ? bytes_->flush()
                                  : bytes_->write({left[0], left[1], left[2]}, bound == os::never);
    if (all_taken && sent == 0) return true;
    if (sent == -EAGAIN) {
      // A try that has begun finishes: there was room for all of it.
      const clock::time_point until = begun && deadline == os::now ? os::never : bound;
      const bool go_on = bytes_->waits_to_write(true) ? wait_until_writable(native_handle(), until)
                                                      : wait_until_readable(native_handle(), until);
      if (go_on || (until < deadline && ready_now(native_handle()) && greet(os::now))) continue;
      if (until < deadline) fail_unanswered(begun);
      if (!begun) return false;
      fail("tandem: the time for this message ended inside of it, which breaks the connection");
    }
    if (is_gone(sent)) fail(peer_gone);
    if (sent < 0) {
      if (begun) fail("tandem: a message could be sent only in part, which breaks the connection");
      os::throw_failed("sendmsg", static_cast<int>(-sent));
    }
    begun = true;
    auto n = static_cast<std::size_t>(sent);
    for (auto& part : left) {
      const std::size_t of_part = std::min(n, part.size());
      part = part.subspan(of_part);
      n -= of_part;
    }
  }
}

// ---- receiving ----------------------------------------------------------------------------------------------------

// -EAGAIN at the deadline.
long stream::read_some(std::span<std::byte> into, clock::time_point deadline) {
  for (;;) {
    const long n = bytes_->read(into, deadline == os::never);
    if (n != -EAGAIN) return n;
    const bool go_on = bytes_->waits_to_write(false) ? wait_until_writable(native_handle(), deadline)
                                                     : wait_until_readable(native_handle(), deadline);
    if (!go_on) return -EAGAIN;
  }
}

void stream::begin_next() {
  head_filled_ = 0;
  filled_ = 0;
  body_ = {};
  known_ready_.store(bytes_->holds_bytes(), std::memory_order_relaxed);
}

stream::progress stream::take_frame(clock::time_point deadline) {
  if (ended_) return progress::ended;
  while (head_filled_ < sizeof head_) {
    const long n = read_some(std::as_writable_bytes(std::span(&head_, 1)).subspan(head_filled_), deadline);
    if (n == -EAGAIN) return progress::waiting;
    if (n == 0 || is_gone(n)) {
      if (head_filled_ != 0 || n == -EPROTO) fail(died_inside);
      if (awaits()) throw_hung_up();
      ended_ = true;
      known_ready_.store(true, std::memory_order_relaxed);
      return progress::ended;
    }
    if (n < 0) os::throw_failed("recv", static_cast<int>(-n));
    head_filled_ += static_cast<std::size_t>(n);
    if (head_filled_ < sizeof head_) continue;
    try {
      check_frame(head_, most_bytes_);
      if (head_.apart != 0 || head_.handles != 0 || (head_.kind != frame_kind::message) != awaits())
        throw broken_connection("tandem: what came is nothing that tandem sends over TCP");
    } catch (const tandem::error&) {
      broken_.store(true, std::memory_order_relaxed);
      os::shut_down(native_handle());
      throw;
    }
    if (!awaits()) return progress::begun;
    answer_.store(head_.kind == frame_kind::welcome ? answer::welcome : answer::refusal, std::memory_order_relaxed);
    begin_next();
    if (head_.kind == frame_kind::refusal) throw_refused();
    return progress::answered;  // from here on another deadline holds
  }
  return progress::begun;
}

stream::progress stream::take_body(clock::time_point deadline) {
  while (filled_ < head_.bytes) {
    const long n = read_some(detail::grow(body_, head_.bytes, filled_), deadline);
    if (n == -EAGAIN) return progress::waiting;
    if (n <= 0) fail(died_inside);
    filled_ += static_cast<std::size_t>(n);
  }
  return progress::whole;
}

// All of it; only a death can end the wait.
void stream::fill(std::span<std::byte> room) {
  while (!room.empty()) {
    const long n = read_some(room, os::never);
    if (n <= 0) fail(died_inside);
    room = room.subspan(static_cast<std::size_t>(n));
  }
}

void stream::take_into(sink& into) {
  const std::size_t total = head_.bytes;
  try {
    for (std::size_t filled = 0; filled < total;) {
      const std::span<std::byte> room = into.room(total, filled);
      const auto wanted = room.first(std::min(room.size(), total - filled));
      fill(wanted);
      filled += wanted.size();
    }
  } catch (...) {
    broken_.store(true, std::memory_order_relaxed);
    throw;
  }
}

arrival stream::receive(sink& into, clock::time_point deadline) {
  auto lock = lock_until(receiving_, deadline);
  if (!lock) return arrival::none;
  if (broken_.load(std::memory_order_relaxed)) throw broken_connection(out_of_step);
  if (awaits()) require_answer();
  progress reached = progress::answered;
  while (reached == progress::answered)
    reached = take_frame(awaits() ? std::min(deadline, welcome_deadline_) : deadline);
  switch (reached) {
    case progress::waiting:
      if (awaits()) require_answer();
      return arrival::none;
    case progress::ended: return arrival::closed;
    default: break;
  }
  const std::size_t total = head_.bytes;
  if (total > into.limit()) {
    known_ready_.store(true, std::memory_order_relaxed);
    throw std::length_error("tandem: the message has " + std::to_string(total) + " bytes, and there is room for " +
                            std::to_string(into.limit()) + "; it waits for the next call");
  }
  if (deadline != os::never || filled_ != 0) {
    if (take_body(deadline) != progress::whole) return arrival::none;
    std::vector<std::byte> body = std::move(body_);
    begin_next();
    lock.unlock();  // what decodes may receive
    into.owned(std::move(body));
    return arrival::message;
  }
  if (total <= most_in_small_packet) {
    const staging memory;
    const std::span<std::byte> place = into.direct().empty() ? memory.all().first(total) : into.direct().first(total);
    fill(place);
    begin_next();
    lock.unlock();
    into.whole(place);
    return arrival::message;
  }
  take_into(into);
  begin_next();
  lock.unlock();
  into.filled();
  return arrival::message;
}

bool stream::ready() {
  const std::unique_lock lock(receiving_, std::try_to_lock);
  if (!lock) return ready_now(native_handle());  // somebody receives; he may be first
  if (broken_.load(std::memory_order_relaxed)) return true;
  bool is_ready = true;
  try {
    if (awaits()) require_answer();
    progress reached = take_frame(os::now);
    if (reached == progress::answered) reached = take_frame(os::now);
    is_ready = reached == progress::ended || (reached == progress::begun && take_body(os::now) == progress::whole);
  } catch (const tandem::error&) {  // receive() says so
  } catch (const std::bad_alloc&) {
  }
  known_ready_.store(is_ready, std::memory_order_relaxed);
  return is_ready;
}

detail::wait_state stream::look() {
  const bool is_ready = known_ready_.load(std::memory_order_relaxed) || broken_.load(std::memory_order_relaxed);
  return {native_handle(), is_ready, true, awaits() ? welcome_deadline_ : os::never};
}

// ---- the listener's answer, and other processes -------------------------------------------------------------------------

void stream::require_answer() const {
  if (answer_.load(std::memory_order_relaxed) == answer::refusal) throw_refused();
  if (clock::now() >= welcome_deadline_ && !ready_now(native_handle())) throw_no_answer();
}

void stream::fail_unanswered(bool begun) {
  if (begun) {  // what was sent in part cannot be taken up again
    broken_.store(true, std::memory_order_relaxed);
    os::shut_down(native_handle());
  }
  throw_no_answer();
}

bool stream::greet(clock::time_point deadline) {
  if (!awaits()) return true;
  const auto lock = lock_until(receiving_, deadline);
  if (!lock) return !awaits();
  require_answer();
  while (awaits() && take_frame(os::now) == progress::waiting) {
    if (!wait_until_readable(native_handle(), deadline)) return false;
  }
  return true;
}

void stream::write(writer& w) {
  if (!bytes_->can_be_passed_on()) {
    throw tandem::error(
        "tandem: a connection with .tls cannot be passed to another process: its keys are in the memory of this one");
  }
  if (!greet(welcome_deadline_)) throw_no_answer();
  const std::lock_guard lock(receiving_);
  if (head_filled_ != 0 || broken_.load(std::memory_order_relaxed)) {
    throw tandem::error(
        "tandem: this connection broke, or holds a message that was received in part; receive it before the connection "
        "is "
        "passed on");
  }
  w(static_cast<std::uint64_t>(most_bytes_));
  detail::wire::attach(w, bytes_->socket());
}

}  // namespace tandem::channel
