#pragma once
// Typed messages between threads and processes: pipes go one way, duplex pipes both ways.
//
//   auto [rx, tx] = tandem::make_pipe<std::string>();
//   tandem::process p([](tandem::sender<std::string> out) { out.send("hello"); }, tx);
//   tx.close();                      // the copy here; else rx would wait for what we might still send
//   while (auto text = rx.receive()) std::puts(text->c_str());
//
// A message arrives whole or not at all, however large it is and whoever dies meanwhile. Ends are values: a copy is one
// more holder of the same end, and so is what is passed to a process or sent through a pipe. An end is closed when its
// last holder has closed it or is gone, however that went. Any number of threads and processes may send into one pipe,
// and any number may receive from it: each message goes to one of them.
//
// A *large* message, below, is one of more than 64 KiB that the kernel does not take in one piece: it tries up to 1 MiB,
// and needs memory of that size in one block, and the system's leave (net.core.wmem_max; 400 KiB at its usual value).
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <tandem/detail/channel_values.hpp>
#include <tandem/error.hpp>
#include <tandem/transfer.hpp>

namespace tandem {

/// The end of a pipe that messages go into. Made by make_pipe().
/// Threads: const members at once; close(), moves and destruction of one object by one thread, alone. Fork: a child made
/// by fork() is one more holder.
template <transferable T>
class sender {
 public:
  /// A closed one.
  sender() noexcept = default;

  /// Sends one message.
  /// Blocks: while the pipe is full; until a receiver has taken the message, if it is large. Errors: closed if this end
  /// was closed; broken_connection if all receivers are gone; resource_exhausted; what encoding throws. Nothing was sent
  /// then, unless the last receiver died while it took a large message. Signals: no SIGPIPE; others do not disturb it.
  /// Cost: a copy into the kernel, one system call; six more for a large one; a vector or string of flat values is sent
  /// from where it is, anything else is encoded first.
  void send(const T& value) const { detail::send_value(end_, value, detail::no_deadline); }
  /// As send(), but does not wait, or no longer than `timeout`: false if the pipe was still full, and nothing was sent.
  /// Blocks: try_send never; send_for until then. Errors: as send(). Cost: as send(); a large message is put into memory
  /// of its own, which the receiver is handed; of those a pipe holds two or more, by their size.
  bool try_send(const T& value) const { return detail::send_value(end_, value, detail::at_once); }
  bool send_for(const T& value, nanoseconds timeout) const {
    return detail::send_value(end_, value, detail::moment_after(timeout));
  }
  /// Sends bytes as they are, for receive_bytes(); receive() takes them for an encoded value.
  /// Blocks: as send(). Errors: as send(). Cost: as send(); never a copy here.
  void send_bytes(std::span<const std::byte> bytes) const { end_.send({{}, bytes, {}}, detail::no_deadline); }

  /// Closes this copy of the end; all that was sent still arrives. A second time it does nothing.
  void close() noexcept { end_.close(); }
  /// The descriptor, owned by this object; -1 once closed.
  int native_handle() const noexcept { return end_.native_handle(); }

 private:
  friend struct transfer<sender>;
  friend struct detail::channel_access;
  explicit sender(detail::channel_end end) noexcept : end_(std::move(end)) {}
  detail::channel_end end_;
};

/// The end of a pipe that messages come out of. Made by make_pipe().
/// Threads: const members at once; close(), moves and destruction of one object by one thread, alone. Fork: a child made
/// by fork() is one more holder.
template <transferable T>
class receiver {
 public:
  /// A closed one.
  receiver() noexcept = default;

  /// The next message; nothing once every copy of the sender is closed and all was read.
  /// Blocks: until then. Errors: broken_connection if a sender died inside of a message, which is then lost; decode_error
  /// if the bytes are no T; resource_exhausted if there was no room for the message's handles; closed if this end was
  /// closed; std::bad_alloc; what decoding throws: each of these costs the one message. Signals: do not disturb it.
  /// Cost: a copy out of the kernel, one system call; two if the message before was of more than 64 KiB, so that a vector
  /// or string of flat values goes straight to its place; for a large message four more, and one for each 256 KiB: memory
  /// is taken as the bytes come.
  std::optional<T> receive() const { return detail::receive_value<T>(end_, detail::no_deadline); }
  /// As receive(), but nothing if no message was there for `timeout`. A large message that was begun is kept for the next
  /// call.
  /// Blocks: until then. Errors: as receive(); closed once every copy of the sender is closed and all was read.
  std::optional<T> receive_for(nanoseconds timeout) const {
    return detail::receive_value<T>(end_, detail::moment_after(timeout));
  }
  /// True if receive() has something to give, a message or the end; waits for that no longer than `timeout`. Another
  /// receiver may be first.
  /// Blocks: until then. Errors: closed if this end was closed; resource_exhausted. Cost: one system call.
  bool poll(nanoseconds timeout = {}) const {
    return end_.poll(timeout <= nanoseconds::zero() ? detail::at_once : detail::moment_after(timeout));
  }

  /// The bytes of the next message; of one that send() sent, those of the encoded value, and its handles are closed.
  /// Nothing as receive().
  /// Blocks: as receive(). Errors: as receive(), without decode_error. Cost: as receive().
  std::optional<std::vector<std::byte>> receive_bytes() const { return detail::receive_bytes(end_); }
  /// The same into `bytes`: how many they were.
  /// Blocks: as receive(). Errors: as receive_bytes(); std::length_error if they are more than fit, which says how many:
  /// the message is kept for the next call. Cost: as receive(), without an allocation.
  std::optional<std::size_t> receive_bytes_into(std::span<std::byte> bytes) const {
    return detail::receive_bytes_into(end_, bytes);
  }

  /// Closes this copy of the end. A second time it does nothing.
  void close() noexcept { end_.close(); }
  /// The descriptor, owned by this object: readable when there is a message or the end; -1 once closed. One that
  /// receive_for() has begun, or receive_bytes_into() had no room for, is seen by poll() and wait_any alone.
  int native_handle() const noexcept { return end_.native_handle(); }

 private:
  friend struct transfer<receiver>;
  friend struct detail::channel_access;
  explicit receiver(detail::channel_end end) noexcept : end_(std::move(end)) {}
  detail::channel_end end_;
};

/// Both ends of a pipe.
template <transferable T>
struct pipe_ends {
  receiver<T> rx;
  sender<T> tx;
};

/// A new pipe.
/// Blocks: never. Threads: any. Errors: resource_exhausted. Cost: a unix socket pair: one system call, two descriptors;
/// the kernel holds up to about 200 KiB of messages, and 2 MiB once one of more than 64 KiB was sent.
template <transferable T>
pipe_ends<T> make_pipe();

/// One end of a duplex pipe or a socket: sends S and receives R.
/// Threads: const members at once; close(), moves and destruction of one object by one thread, alone. Fork: a child made
/// by fork() is one more holder; with .tls it can only close its copy.
template <transferable S, transferable R>
class connection {
 public:
  /// A closed one.
  connection() noexcept = default;

  /// Sends one message.
  /// Blocks: while the peer does not read and the kernel's buffer is full; until the peer has taken the message, if it is
  /// large. Errors: closed if this end was closed; broken_connection if the peer is gone; resource_exhausted;
  /// std::length_error over a socket if it is larger than max_message_bytes; timed_out if the listener did not answer by
  /// handshake_deadline; what encoding throws. Signals: no SIGPIPE; others do not disturb it. Cost: as sender::send();
  /// over TCP one system call for what the kernel's buffer holds.
  void send(const S& value) const { detail::send_value(end_, value, detail::no_deadline); }
  /// As send(), but does not wait, or no longer than `timeout`: false if there was no room, and nothing was sent.
  /// Blocks: try_send never; send_for until then. Errors: as send(); over TCP try_send throws std::length_error for a
  /// message that is larger than the kernel's buffer, and send_for breaks the connection if the time ends inside of one,
  /// which can be for those of more than a sixth of that buffer.
  bool try_send(const S& value) const { return detail::send_value(end_, value, detail::at_once); }
  bool send_for(const S& value, nanoseconds timeout) const {
    return detail::send_value(end_, value, detail::moment_after(timeout));
  }
  /// Sends bytes as they are, for receive_bytes(); receive() takes them for an encoded value.
  /// Blocks: as send(). Errors: as send().
  void send_bytes(std::span<const std::byte> bytes) const { end_.send({{}, bytes, {}}, detail::no_deadline); }

  /// The next message; nothing once every copy of the peer is closed and all was read.
  /// Blocks: until then. Errors: as receiver::receive(); broken_connection also for what is no message of tandem, or is
  /// larger than max_message_bytes, and if the listener's types are others; timed_out if the listener did not answer by
  /// handshake_deadline.
  std::optional<R> receive() const { return detail::receive_value<R>(end_, detail::no_deadline); }
  /// As receive(), but nothing if no message was there for `timeout`. One that was begun is kept for the next call.
  /// Blocks: until then. Errors: as receive(); closed once every copy of the peer is closed and all was read.
  std::optional<R> receive_for(nanoseconds timeout) const {
    return detail::receive_value<R>(end_, detail::moment_after(timeout));
  }
  /// True if receive() has something to give, a message or the end; waits for that no longer than `timeout`.
  /// Blocks: until then. Errors: closed if this end was closed; resource_exhausted. Cost: one system call.
  bool poll(nanoseconds timeout = {}) const {
    return end_.poll(timeout <= nanoseconds::zero() ? detail::at_once : detail::moment_after(timeout));
  }
  /// As those of receiver.
  /// Blocks: as receive(). Errors: as receive(), without decode_error; receive_bytes_into: std::length_error if they are
  /// more than fit, which says how many: the message is kept for the next call.
  std::optional<std::vector<std::byte>> receive_bytes() const { return detail::receive_bytes(end_); }
  std::optional<std::size_t> receive_bytes_into(std::span<std::byte> bytes) const {
    return detail::receive_bytes_into(end_, bytes);
  }

  /// Closes this copy of the end, both ways; all that was sent still arrives. A second time it does nothing.
  void close() noexcept { end_.close(); }
  /// The descriptor, owned by this object: readable when there is a message, a part of one (TCP) or the end; -1 once
  /// closed. One that was begun or kept: as receiver's.
  int native_handle() const noexcept { return end_.native_handle(); }

 private:
  friend struct transfer<connection>;
  friend struct detail::channel_access;
  explicit connection(detail::channel_end end) noexcept : end_(std::move(end)) {}
  detail::channel_end end_;
};

/// A new duplex pipe: what one of the two sends, the other receives.
/// Blocks: never. Threads: any. Errors: resource_exhausted. Cost: as make_pipe().
template <transferable A, transferable B>
std::pair<connection<A, B>, connection<B, A>> make_duplex();

namespace detail {
/// The way to the end inside, for the rest of the library.
struct channel_access {
  template <class H>
  static const channel_end& end(const H& handle) noexcept {
    return handle.end_;
  }
  template <class H>
  static H make(channel_end end) noexcept {
    return H(std::move(end));
  }
};
}  // namespace detail

template <transferable T>
pipe_ends<T> make_pipe() {
  detail::end_pair ends = detail::make_ends();
  return {detail::channel_access::make<receiver<T>>(std::move(ends.first)),
          detail::channel_access::make<sender<T>>(std::move(ends.second))};
}

template <transferable A, transferable B>
std::pair<connection<A, B>, connection<B, A>> make_duplex() {
  detail::end_pair ends = detail::make_ends();
  return {detail::channel_access::make<connection<A, B>>(std::move(ends.first)),
          detail::channel_access::make<connection<B, A>>(std::move(ends.second))};
}

// An end that is passed on is one more holder of it.
template <class T>
struct transfer<sender<T>> {
  static constexpr bool carries_handles = true;
  static void write(writer& w, const sender<T>& s) { s.end_.write(w); }
  static sender<T> read(reader& r) { return sender<T>(detail::channel_end::read(r)); }
};
template <class T>
struct transfer<receiver<T>> {
  static constexpr bool carries_handles = true;
  static void write(writer& w, const receiver<T>& s) { s.end_.write(w); }
  static receiver<T> read(reader& r) { return receiver<T>(detail::channel_end::read(r)); }
};
template <class S, class R>
struct transfer<connection<S, R>> {
  static constexpr bool carries_handles = true;
  static void write(writer& w, const connection<S, R>& s) { s.end_.write(w); }
  static connection<S, R> read(reader& r) { return connection<S, R>(detail::channel_end::read(r)); }
};

}  // namespace tandem
