#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>

#include "os/faults.hpp"
#include "os/kernel.hpp"

namespace tandem::os {

namespace {

static_assert(sizeof(sockaddr_un) <= sizeof(endpoint::bytes) && sizeof(sockaddr_in6) <= sizeof(endpoint::bytes));

const sockaddr* address_of(const endpoint& e) noexcept {
  return reinterpret_cast<const sockaddr*>(
      e.bytes.data());  // SAFETY: bind and connect take any kind of address by this
}

int family_of(const endpoint& e) noexcept {
  sockaddr generic{};
  std::memcpy(&generic, e.bytes.data(), sizeof generic);
  return generic.sa_family;
}

int set_on(int fd, int level, int option) noexcept {
  const int on = 1;
  return ::setsockopt(fd, level, option, &on, sizeof on) == 0 ? 0 : -errno;
}

int make_socket(const endpoint& e, int flags) noexcept {
  const int type = e.of_unix() ? SOCK_SEQPACKET : SOCK_STREAM;
  const int fd = clear_of_standard(::socket(family_of(e), type | SOCK_CLOEXEC | flags, 0));
  return fd < 0 ? -errno : fd;
}

}  // namespace

bool endpoint::of_unix() const noexcept { return family_of(*this) == AF_UNIX; }

int resolve(const std::string& host, const std::string& port, bool to_listen, std::vector<endpoint>& found) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  addrinfo* list = nullptr;
  int code = ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &list);
  if (code != 0 && host == "localhost") {
    // A machine without /etc/hosts; that name is the loopback's everywhere (RFC 6761, 6.3).
    wanted.ai_family = AF_INET;
    wanted.ai_flags = AI_NUMERICSERV;
    code = ::getaddrinfo(nullptr, port.c_str(), &wanted, &list);
  }
  if (code != 0) return code;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    endpoint e;
    if (at->ai_addrlen > e.bytes.size()) continue;
    std::memcpy(e.bytes.data(), at->ai_addr, at->ai_addrlen);
    e.size = at->ai_addrlen;
    found.push_back(e);
  }
  ::freeaddrinfo(list);
  return 0;
}

std::string resolve_error(int code) { return ::gai_strerror(code); }

int unix_endpoint(const std::string& name, endpoint& made) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() > most_unix_name) return -ENAMETOOLONG;
  std::memcpy(address.sun_path, name.data(), name.size());
  made.size = static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + name.size());
  if (name[0] == '@') {
    address.sun_path[0] = '\0';
    if (name.size() == 1) made.size = offsetof(sockaddr_un, sun_path);  // the kernel chooses
  } else {
    made.size += 1;
  }
  std::memcpy(made.bytes.data(), &address, sizeof address);
  return 0;
}

int listen_at(const endpoint& e, int backlog, may_connect who) noexcept {
  if (const int error = injected()) return -error;
  file_descriptor fd(make_socket(e, SOCK_NONBLOCK));
  if (!fd) return fd.get();
  // The file gets the mode of the socket, so that there is no moment when others could connect.
  if (e.of_unix() ? ::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0 : set_on(fd.get(), SOL_SOCKET, SO_REUSEADDR) != 0)
    return -errno;
  if (::bind(fd.get(), address_of(e), e.size) != 0) return -errno;
  const char* const path = e.of_unix() ? reinterpret_cast<const sockaddr_un*>(address_of(e))->sun_path : "";
  const bool opens = who == may_connect::any_user && path[0] != '\0';  // whatever umask(2) says
  if ((!opens || ::chmod(path, 0666) == 0) && ::listen(fd.get(), backlog) == 0) return fd.release();
  const int error = errno;
  if (path[0] != '\0') ::unlink(path);
  return -error;
}

namespace {
/// Of the connection that was about to be accepted, not of the listener.
bool is_of_the_client(int error) noexcept {
  return error == ECONNABORTED || error == EPROTO || error == ENETDOWN || error == ENETUNREACH || error == EHOSTDOWN ||
         error == EHOSTUNREACH || error == ENONET || error == ENOPROTOOPT;
}
}  // namespace

int accept_now(int listening) noexcept {
  if (const int error = injected()) return -error;
  int fd = -1;
  do fd = clear_of_standard(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
  while (fd < 0 && (errno == EINTR || is_of_the_client(errno)));
  return fd < 0 ? -errno : fd;
}

int local_port(int fd) noexcept {
  sockaddr_in6 address{};  // the port stands where that of an IPv4 address does
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return -errno;
  return ntohs(address.sin6_port);
}

std::string local_name(int fd) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  const std::size_t length = size - offsetof(sockaddr_un, sun_path);
  if (length == 0) return {};
  std::string name(address.sun_path, length);
  if (name[0] != '\0') return name.c_str();
  name[0] = '@';
  return name;
}

int connect_unix(const endpoint& e, clock::time_point deadline) noexcept {
  if (const int error = injected()) return -error;
  file_descriptor fd(make_socket(e, 0));
  if (!fd) return fd.get();
  for (;;) {
    // A listener whose queue is full lets a client wait for as long as a send may take.
    const auto left = std::max(std::chrono::duration_cast<std::chrono::microseconds>(deadline - clock::now()),
                               std::chrono::microseconds(1))
                          .count();
    const timeval most{static_cast<time_t>(left / 1'000'000), static_cast<suseconds_t>(left % 1'000'000)};
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) != 0) return -errno;
    if (::connect(fd.get(), address_of(e), e.size) == 0) break;
    if (errno != EINTR) return -errno;
  }
  const timeval unlimited{};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &unlimited, sizeof unlimited) != 0) return -errno;
  return fd.release();
}

int connect_tcp(const endpoint& e, clock::time_point deadline) noexcept {
  if (const int error = injected()) return -error;
  file_descriptor fd(make_socket(e, SOCK_NONBLOCK));
  if (!fd) return fd.get();
  if (::connect(fd.get(), address_of(e), e.size) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) return -errno;
    std::array<ready, 1> set{{{fd.get(), false, true}}};
    const int count = wait_ready(set, deadline);
    if (count <= 0) return count == 0 ? -ETIMEDOUT : count;
    int failed = 0;
    socklen_t size = sizeof failed;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failed, &size) != 0) return -errno;
    if (failed != 0) return -failed;
  }
  if (::fcntl(fd.get(), F_SETFL, O_RDWR) != 0) return -errno;
  return fd.release();
}

int tune_stream(int fd) noexcept {
  if (const int error = injected()) return -error;
  if (const int failed = set_on(fd, IPPROTO_TCP, TCP_NODELAY)) return failed;
  return set_on(fd, SOL_SOCKET, SO_KEEPALIVE);
}

long peer_user(int fd) noexcept {
  if (const int error = injected()) return -error;
  ucred who{};
  socklen_t size = sizeof who;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 ? static_cast<long>(who.uid) : -errno;
}

long send_buffer(int fd) noexcept {
  int bytes = 0;
  socklen_t size = sizeof bytes;
  return ::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size) == 0 ? bytes : -errno;
}

long widen_send_buffer(int fd, std::size_t bytes) noexcept {
  if (const int e = injected()) return -e;
  const long is = send_buffer(fd);
  if (is < 0 || static_cast<std::size_t>(is) >= bytes) return is;
  const int wanted = static_cast<int>(bytes);  // the kernel cuts it at its limit, and doubles that
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
  return send_buffer(fd);
}

long unsent(int fd) noexcept {
  int bytes = 0;
  return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -errno;
}

int lock_folder(const std::string& folder, clock::time_point deadline) noexcept {
  file_descriptor fd(clear_of_standard(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (!fd) return -errno;
  constexpr long longest_wait_ns = 16'000'000;
  for (long wait_ns = 1'000'000;; wait_ns = std::min(2 * wait_ns, longest_wait_ns)) {
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd.release();
    if (errno != EWOULDBLOCK || clock::now() >= deadline) return -errno;
    const timespec wait{0, wait_ns};
    ::nanosleep(&wait, nullptr);
  }
}

bool nobody_is_at(const endpoint& e) noexcept {
  // Of a type that no listener of ours has, so that it does not look like a client.
  const file_descriptor fd(clear_of_standard(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  return fd && ::connect(fd.get(), address_of(e), e.size) != 0 && errno == ECONNREFUSED;
}

bool is_socket_file(const std::string& path) noexcept {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

std::uint64_t file_number(const std::string& path) noexcept {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

void remove_file(const std::string& path) noexcept { ::unlink(path.c_str()); }

}  // namespace tandem::os
