#include "channel/address.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include <tandem/error.hpp>

namespace tandem::channel {

namespace {

[[noreturn]] void throw_bad_address(const std::string& text, const char* why) {
  throw std::invalid_argument("tandem: \"" + text + "\" is no address: " + why +
                              "; write unix:/path, unix:@name or tcp://host:port (tcp://[::1]:port for IPv6)");
}

address parse_unix(const std::string& text) {
  address a;
  a.text = text;
  a.is_unix = true;
  a.name = text.substr(5);
  if (a.name.empty()) throw_bad_address(text, "the path is missing");
  if (a.name.find('\0') != std::string::npos) throw_bad_address(text, "it has a zero byte in it");
  if (a.name.size() > os::most_unix_name) {
    throw_bad_address(text, "a path or name has at most 107 bytes: take a shorter one, such as unix:@name");
  }
  return a;
}

}  // namespace

address parse_address(const std::string& text) {
  if (text.starts_with("unix:")) return parse_unix(text);
  if (!text.starts_with("tcp://")) throw_bad_address(text, "it begins with neither unix: nor tcp://");
  const std::string rest = text.substr(6);
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos) throw_bad_address(text, "the port is missing");
  address a;
  a.text = text;
  a.host = rest.substr(0, colon);
  a.port = rest.substr(colon + 1);
  if (a.host.size() > 1 && a.host.front() == '[' && a.host.back() == ']') {
    a.host = a.host.substr(1, a.host.size() - 2);
  } else if (a.host.find_first_of(":[]") != std::string::npos) {
    throw_bad_address(text, "an IPv6 address stands in brackets");
  }
  if (a.host.empty()) throw_bad_address(text, "the host is missing (0.0.0.0 or [::] listens on all)");
  unsigned port = 0;
  const auto [end, failed] = std::from_chars(a.port.data(), a.port.data() + a.port.size(), port);
  if (failed != std::errc() || end != a.port.data() + a.port.size() || port > 65535)
    throw_bad_address(text, "the port is a number from 0 to 65535");
  return a;
}

std::string tcp_text(const std::string& host, int port) {
  const bool v6 = host.find(':') != std::string::npos;
  return "tcp://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::vector<os::endpoint> endpoints_of(const address& a, bool to_listen) {
  std::vector<os::endpoint> found;
  if (a.is_unix) {
    os::check(os::unix_endpoint(a.name, found.emplace_back()), "bind");  // its length was checked
    return found;
  }
  const int failed = os::resolve(a.host, a.port, to_listen, found);
  if (failed == 0 && !found.empty()) return found;
  const std::string why = "tandem: the host of " + a.text + " cannot be found: " + os::resolve_error(failed);
  if (to_listen) throw std::invalid_argument(why);
  throw broken_connection(why);
}

}  // namespace tandem::channel
