#include <cerrno>
#include <chrono>
#include <stdexcept>

#include <tandem/error.hpp>
#include <tandem/socket.hpp>

#include "channel/address.hpp"
#include "channel/handshake.hpp"
#include "channel/listener.hpp"
#include "channel/waiting.hpp"

namespace tandem::detail {

namespace {

using namespace std::chrono_literals;

// How long a listener may take to come to accept before the connection is left waiting. Who would accept may be the
// caller itself.
constexpr nanoseconds patience = 1s;
constexpr nanoseconds patience_at_home = 100ms;

[[noreturn]] void throw_not_there(const channel::address& a, int error) {
  if (error == EAGAIN || error == ETIMEDOUT)
    throw timed_out("tandem: nobody at " + a.text + " took the connection by handshake_deadline");
  throw broken_connection("tandem: nobody can be reached at " + a.text + ": " + std::generic_category().message(error));
}

// Whose fault it is: ours, or that there is nobody.
bool is_ours(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS || error == EACCES || error == EPERM;
}

file_descriptor reach(const channel::address& a, clock::time_point deadline) {
  int failed = 0;
  for (const os::endpoint& e : channel::endpoints_of(a, false)) {
    const int fd = a.is_unix ? os::connect_unix(e, deadline) : os::connect_tcp(e, deadline);
    if (fd >= 0) return file_descriptor(fd);
    failed = -fd;
    if (is_ours(failed)) os::throw_failed("connect", failed, "no connection to " + a.text);
  }
  throw_not_there(a, failed);
}

channel::line plain_line(const channel::address& a, file_descriptor socket, const socket_options& options) {
  if (!a.is_unix) {
    os::check(os::tune_stream(socket.get()), "setsockopt");
    return channel::line(std::make_unique<channel::plain_bytes>(std::move(socket)));
  }
  if (!options.any_user) {
    const long user = os::check(os::peer_user(socket.get()), "getsockopt(SO_PEERCRED)");
    if (user != static_cast<long>(os::own_user())) {
      throw authentication_failed("tandem: the listener at " + a.text + " is of the user " + std::to_string(user) +
                                  ": .any_user connects to others");
    }
  }
  return channel::line(std::move(socket));
}

channel::line tls_line(const channel::address& a, file_descriptor socket, const socket_options& options,
                       clock::time_point deadline, const channel::attention& attend) {
  os::check(os::tune_stream(socket.get()), "setsockopt");
  const std::string& name = options.tls->server_name.empty() ? a.host : options.tls->server_name;
  auto bytes = channel::make_tls(channel::make_tls_context(*options.tls, false), std::move(socket), name);
  while (!bytes->shake()) {
    const int fd = bytes->socket().get();
    if (!channel::wait_for_listener(fd, bytes->waits_to_write_for_shaking(), deadline, attend))
      channel::throw_no_answer();
  }
  return channel::line(std::move(bytes));
}

}  // namespace

channel_end connect_end(const std::string& text, const socket_options& options, channel_types types) {
  const channel::address a = channel::parse_address(text);
  channel::require_crypto(options);
  if (a.name == "@") {
    throw std::invalid_argument(
        "tandem: unix:@ lets a listener choose its name: connect to what its address() gives, or to unix:@name");
  }
  if (types.handles && !a.is_unix) {
    throw std::invalid_argument(
        "tandem: descriptors and other handles cannot cross a TCP connection: they belong to one machine; use unix:");
  }
  if (options.tls && a.is_unix)
    throw std::invalid_argument("tandem: .tls is for tcp:// only: what goes over unix: leaves no machine");
  const clock::time_point deadline = deadline_after(options.handshake_deadline);
  file_descriptor socket = reach(a, deadline);
  const auto attend = [&a] { return attend_own_listener(a); };
  channel::line l = options.tls ? tls_line(a, std::move(socket), options, deadline, attend)
                                : plain_line(a, std::move(socket), options);
  channel::hello h;
  h.sends = types.sends;
  h.receives = types.receives;
  channel::packet_options agreed;
  agreed.most_bytes = options.max_message_bytes;
  agreed.welcome_deadline = deadline;
  auto core = channel::greet_listener(std::move(l), h, options.key, agreed, attend);
  const clock::time_point enough = deadline_after(is_own_listener(a) ? patience_at_home : patience);
  if (!core->greet(std::min(deadline, enough)) && clock::now() >= deadline) channel::throw_no_answer();
  return channel_end(std::move(core));
}

}  // namespace tandem::detail
