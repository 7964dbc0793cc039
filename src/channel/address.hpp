#pragma once
// Addresses as users write them: unix:/path, unix:@name, tcp://host:port.
#include <string>
#include <vector>

#include "os/kernel.hpp"

namespace tandem::channel {

struct address {
  std::string text;  // as it was written
  bool is_unix = false;
  std::string name;  // of unix: the path, or '@' and the name
  std::string host;  // of tcp, without brackets
  std::string port;

  bool is_path() const noexcept { return is_unix && name[0] != '@'; }
};

/// Throws std::invalid_argument, which says what an address looks like.
address parse_address(const std::string& text);
std::string tcp_text(const std::string& host, int port);
/// Those to try, one after the other. Throws broken_connection (to connect) or std::invalid_argument (to listen).
std::vector<os::endpoint> endpoints_of(const address&, bool to_listen);

}  // namespace tandem::channel
