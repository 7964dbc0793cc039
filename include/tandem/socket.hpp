#pragma once
// Typed messages between programs, on this machine or another.
//
//   tandem::listener l("unix:@example");                             tandem::socket_options{.key = ...} for a secret
//   while (auto c = l.accept<answer, question>()) ...                connection<answer, question>
//   auto c = tandem::connect<question, answer>("unix:@example");     in another program
//
// Addresses: unix:/path (for this user alone, unless .any_user; the file goes with the listener), unix:@name (abstract:
// no file; unix:@ for a name that the kernel chooses), tcp://host:port (port 0: one that is free; [::1] for IPv6). Both
// programs must be built with the same types: their shapes are compared when the connection is made.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <tandem/bytes.hpp>
#include <tandem/deadline.hpp>
#include <tandem/detail/channel_fingerprint.hpp>
#include <tandem/detail/channel_wait.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/pipe.hpp>

namespace tandem {

/// Encryption of a tcp:// connection, by certificates (PEM files). A listener has a certificate and its private key; a
/// client checks them against an authority. A listener with an authority asks clients for certificates too.
struct tls_options {
  std::filesystem::path certificate = {};
  std::filesystem::path private_key = {};
  std::filesystem::path authority = {};  // of a client, empty: those that the system trusts
  std::string server_name = {};          // of a client: whom the certificate must name; empty: the host of the address
};

struct socket_options {
  std::string key =
      {};  // a secret of both programs: each proves to the other that it has it. Nothing is hidden by it: use
           // .tls for that. Take a long random one
  std::optional<tls_options> tls = {};                        // tcp:// only
  nanoseconds handshake_deadline = std::chrono::seconds(10);  // for a client to have shaken hands
  std::size_t max_message_bytes = 1_GiB;                      // a larger one is refused before memory is taken for it
  int backlog = 128;                                          // clients that may wait for accept
  bool any_user = false;                                      // unix: also peers of other users, who may use the file
};

namespace detail {

class listener_core;

struct channel_types {
  std::uint64_t sends = 0;
  std::uint64_t receives = 0;
  bool handles = false;  // among what is sent or received
};
template <class S, class R>
constexpr channel_types types_of() {
  return {fingerprint<S>(), fingerprint<R>(), carries_handles<S> || carries_handles<R>};
}
TANDEM_EXPORT channel_end connect_end(const std::string& address, const socket_options& options, channel_types types);

}  // namespace detail

/// Waits for clients at an address.
/// Threads: all members at once, but moves and destruction. Fork: in a child made by fork() it listens as well, until
/// both are gone; who shook hands before that is the parent's; the child's leaves the file of unix:/path alone.
class TANDEM_EXPORT listener {
 public:
  /// Listens at `address`. A file that a listener that has ended left behind at unix:/path is replaced.
  /// Errors: std::invalid_argument for what is no address, a path of more than 107 bytes, a host that is not found, or
  /// options that contradict it; resource_exhausted (bind: EADDRINUSE where somebody listens, EACCES, ...; flock: another
  /// program kept the folder locked for handshake_deadline); unsupported if
  /// the library was built without OpenSSL and .key or .tls is asked for; tandem::error for certificates that cannot be
  /// read.
  explicit listener(std::string address, socket_options options = {});
  listener(listener&&) noexcept;
  listener& operator=(listener&&) noexcept;
  ~listener();

  /// What a client connects to: the address, with the port or the name that was chosen.
  /// Errors: closed once moved from; std::bad_alloc.
  std::string address() const;
  /// The next client that has shaken hands: a connection that sends S and receives R. Clients shake hands side by side
  /// while somebody is in accept() or waits in wait_any, so that a slow one delays no other; one that takes longer than
  /// handshake_deadline is dropped without a word.
  /// Blocks: until there is one. Threads: any number at once. Errors: each for one client that failed, and the next call
  /// goes on: authentication_failed (its key is another, it has none, or it is of another user), broken_connection (it is
  /// no tandem, of another version, hung up, or its types are others); good clients come first, and of more than 256
  /// failures that wait to be told the oldest are forgotten; closed once close() was called; std::invalid_argument if S or
  /// R carries handles, over TCP; resource_exhausted: without a descriptor for it, a client waits until a later call. Cost:
  /// some ten system calls.
  template <transferable S, transferable R = S>
  connection<S, R> accept() {
    return detail::channel_access::make<connection<S, R>>(*accept_end(detail::types_of<S, R>(), detail::no_deadline));
  }
  /// As accept(), but nothing if no client came for `timeout`.
  /// Blocks: until then. Errors: as accept().
  template <transferable S, transferable R = S>
  std::optional<connection<S, R>> accept_for(nanoseconds timeout) {
    auto end = accept_end(detail::types_of<S, R>(), detail::moment_after(timeout));
    if (!end) return std::nullopt;
    return detail::channel_access::make<connection<S, R>>(std::move(*end));
  }

  /// Ends it: clients are refused, and accept() throws closed, also one that waits. A second time it does nothing.
  void close() noexcept;
  /// A descriptor that is readable while accept() has something to do: then accept_for(0s) gives a client, or nothing if
  /// one is still shaking hands, or was dropped. -1 once closed. Fork: a child has one of its own, and asks for it anew;
  /// -1 there if it has no descriptor left.
  int native_handle() const noexcept;

 private:
  friend struct detail::waiting<listener>;
  std::optional<detail::channel_end> accept_end(detail::channel_types types, clock::time_point deadline);
  std::shared_ptr<detail::listener_core> core_;
};

/// A connection to the listener at `address`, which sends S and receives R: what the listener's program accepts as
/// connection<R, S>. A listener that has not come to accept within a second (a tenth, if it is of this program) leaves
/// the connection waiting, as in any backlog: what is sent arrives when it accepts, a large message once it has, and the
/// first receive or send that finds its answer throws if it was a refusal, or did not come by handshake_deadline, which
/// none of them, nor poll() or wait_any, waits past. With .key or .tls a listener of this program need not accept either,
/// and one of another must, or wait for its clients, by handshake_deadline.
/// Blocks: until the listener has answered, or then; a host's name is looked up for as long as the system's resolver
/// takes. Errors: broken_connection if nobody listens there, or it is no tandem, of another version, or its types are
/// others; authentication_failed (the keys differ, one side has none, the listener is of another user, or its certificate
/// is not good); timed_out at handshake_deadline; std::invalid_argument as the listener's constructor;
/// resource_exhausted; unsupported.
template <transferable S, transferable R = S>
connection<S, R> connect(std::string address, socket_options options = {}) {
  return detail::channel_access::make<connection<S, R>>(
      detail::connect_end(address, options, detail::types_of<S, R>()));
}

/// Ready: a client has shaken hands, or failed to; closed.
template <>
struct TANDEM_EXPORT detail::waiting<listener> {
  static wait_entry of(const listener& l);
};

}  // namespace tandem
