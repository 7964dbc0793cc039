#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>
#include <optional>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "os/system_call.hpp"

namespace tandem::os {

namespace {

constexpr int most_tries = 16;

int keep_pair(const int made[2], std::array<file_descriptor, 2>& ends) noexcept {
  ends = {file_descriptor(made[0]), file_descriptor(made[1])};
  for (file_descriptor& end : ends) {
    end = file_descriptor(clear_of_standard(end.release()));
    if (!end) {
      const int error = errno;
      ends = {};
      return -error;
    }
  }
  return 0;
}

}  // namespace

namespace {

int pair_of(int type, std::array<file_descriptor, 2>& ends) noexcept {
  if (const int e = injected()) return -e;
  int made[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, made) != 0) return -errno;
  return keep_pair(made, ends);
}

}  // namespace

int socket_pair(std::array<file_descriptor, 2>& ends) noexcept { return pair_of(SOCK_SEQPACKET, ends); }

int stream_pair(std::array<file_descriptor, 2>& ends) noexcept { return pair_of(SOCK_STREAM, ends); }

bool is_socket(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

int pipe_pair(std::array<file_descriptor, 2>& ends) noexcept {
  if (const int e = injected()) return -e;
  int made[2];
  if (::pipe2(made, O_CLOEXEC) != 0) return -errno;
  return keep_pair(made, ends);
}

int tell_sender(int fd) noexcept {
  if (const int e = injected()) return -e;
  const int on = 1;
  return ::setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 ? 0 : -errno;
}

namespace {

constexpr std::size_t most_parts = 4;
constexpr std::size_t most_gathered = 1024;  // bytes, which are copied sooner than the kernel has read a list of parts

/// What the kernel took, or minus errno; nothing if the parts are not small.
std::optional<long> send_gathered(int flags, int fd, std::initializer_list<std::span<const std::byte>> parts) noexcept {
  std::array<std::byte, most_gathered> whole;
  std::size_t size = 0;
  for (const auto& bytes : parts) {
    if (bytes.size() > whole.size() - size) return std::nullopt;
    if (!bytes.empty()) std::memcpy(whole.data() + size, bytes.data(), bytes.size());
    size += bytes.size();
  }
  ssize_t sent = 0;
  do sent = ::send(fd, whole.data(), size, MSG_NOSIGNAL | flags);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

int send_with(int flags, int fd, std::initializer_list<std::span<const std::byte>> parts,
              std::span<const int> descriptors) noexcept {
  if (const int e = injected()) return -e;
  if (descriptors.empty()) {
    if (const auto sent = send_gathered(flags, fd, parts)) return static_cast<int>(std::min(*sent, 0L));
  }
  std::array<iovec, most_parts> vectors{};
  std::size_t count = 0;
  for (const auto& bytes : parts) {
    if (count == vectors.size()) return -EINVAL;
    vectors[count++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  }
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * most_descriptors)> control;
  msghdr header{};
  header.msg_iov = vectors.data();
  header.msg_iovlen = count;
  if (!descriptors.empty()) {
    if (descriptors.size() > most_descriptors) return -EINVAL;
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    std::memset(control.data(), 0, header.msg_controllen);
    cmsghdr* first = CMSG_FIRSTHDR(&header);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(first), descriptors.data(), descriptors.size_bytes());
  }
  // The kernel counts what a user has on its way through sockets, and another process of the same user may have much.
  constexpr long longest_wait_ns = 16'000'000;  // 32 ms in all
  for (long wait_ns = 16'000;;) {
    if (::sendmsg(fd, &header, MSG_NOSIGNAL | flags) >= 0) return 0;
    if (errno == EINTR) continue;
    if (errno != ETOOMANYREFS || wait_ns > longest_wait_ns) return -errno;
    const timespec wait{0, wait_ns};
    ::nanosleep(&wait, nullptr);
    wait_ns *= 2;
  }
}

}  // namespace

int send(int fd, std::initializer_list<std::span<const std::byte>> parts, std::span<const int> descriptors) noexcept {
  return send_with(0, fd, parts, descriptors);
}

int send_now(int fd, std::initializer_list<std::span<const std::byte>> parts,
             std::span<const int> descriptors) noexcept {
  int result = 0;
  for (int tries = 0; tries < most_tries; ++tries) {
    result = send_with(MSG_DONTWAIT, fd, parts, descriptors);
    if (result == 0 || result == -EPIPE || result == -ECONNRESET || result == -EAGAIN) break;
  }
  return result;
}

namespace {

void take_descriptors(const cmsghdr& c, message& got) noexcept {
  const std::size_t count = (c.cmsg_len - CMSG_LEN(0)) / sizeof(int);
  try {
    got.descriptors.reserve(count);
  } catch (const std::bad_alloc&) {
    got.descriptors_lost = true;
  }
  for (std::size_t i = 0; i < count; ++i) {
    int one = -1;
    std::memcpy(&one, CMSG_DATA(&c) + i * sizeof(int), sizeof one);
    file_descriptor owned(clear_of_standard(one));
    if (!owned) got.descriptors_lost = true;
    if (got.descriptors.size() < got.descriptors.capacity()) got.descriptors.push_back(std::move(owned));
  }
}

message receive_with(int flags, int fd, std::initializer_list<std::span<std::byte>> parts) noexcept {
  message got;
  if (const int e = injected()) {
    got.size = -e;
    return got;
  }
  std::array<iovec, most_parts> vectors;
  std::size_t count = 0;
  for (const auto& part : parts) {
    if (!part.empty() && count < vectors.size()) vectors[count++] = {part.data(), part.size()};
  }
  // Only what the kernel writes of it is read.
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * most_descriptors) + CMSG_SPACE(sizeof(ucred))>
      control;  // the kernel says how much of it counts
  msghdr header{};
  header.msg_iov = vectors.data();
  header.msg_iovlen = count;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  do {
    if ((flags & MSG_DONTWAIT) != 0) {  // which fails most of the time
      got.size = system_call(SYS_recvmsg, fd, &header, MSG_CMSG_CLOEXEC | flags);
    } else {
      const ssize_t size = ::recvmsg(fd, &header, MSG_CMSG_CLOEXEC | flags);
      got.size = size < 0 ? -errno : size;
    }
  } while (got.size == -EINTR);
  if (got.size < 0) return got;
  got.descriptors_lost = (header.msg_flags & MSG_CTRUNC) != 0;
  if ((header.msg_flags & MSG_TRUNC) != 0) got.size = -EMSGSIZE;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_CREDENTIALS) {
      ucred who{};
      std::memcpy(&who, CMSG_DATA(c), sizeof who);
      got.told_sender = true;
      got.sender = who.pid;
      got.sender_user = who.uid;
    } else if (c->cmsg_type == SCM_RIGHTS) {
      take_descriptors(*c, got);
    }
  }
  return got;
}

}  // namespace

message receive(int fd, std::span<std::byte> buffer) noexcept { return receive_with(0, fd, {buffer}); }

message receive_now(int fd, std::span<std::byte> buffer) noexcept { return receive_with(MSG_DONTWAIT, fd, {buffer}); }

message receive_parts(int fd, std::initializer_list<std::span<std::byte>> parts) noexcept {
  return receive_with(0, fd, parts);
}

message receive_parts_now(int fd, std::initializer_list<std::span<std::byte>> parts) noexcept {
  return receive_with(MSG_DONTWAIT, fd, parts);
}

namespace {

long peek_with(int flags, int fd, std::span<std::byte> beginning) noexcept {
  if (const int e = injected()) return -e;
  ssize_t size = 0;
  do size = ::recv(fd, beginning.data(), beginning.size(), MSG_PEEK | MSG_TRUNC | flags);
  while (size < 0 && errno == EINTR);
  return size < 0 ? -errno : size;
}

}  // namespace

long peek(int fd, std::span<std::byte> beginning) noexcept { return peek_with(0, fd, beginning); }

long peek_now(int fd, std::span<std::byte> beginning) noexcept { return peek_with(MSG_DONTWAIT, fd, beginning); }

message receive_answer(int fd, std::span<std::byte> buffer) noexcept {
  message got = receive(fd, buffer);
  for (int tries = 1; got.size < 0 && got.size != -ECONNRESET; ++tries) {
    if (tries == most_tries) shut_down(fd);
    if (tries > most_tries) break;
    got = receive(fd, buffer);
  }
  if (got.size < 0) got.size = 0;
  return got;
}

void discard(std::span<file_descriptor> unwanted) noexcept {
  constexpr linger none{};
  for (file_descriptor& fd : unwanted) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    fd = {};
  }
}

void discard_packets(file_descriptor socket) noexcept {
  shut_down(socket.get());    // nothing more comes, and what has come is looked through
  tell_sender(socket.get());  // tells an empty message from the end
  std::array<std::byte, 1> byte;
  for (bool more = true; more;) {
    message got = receive_now(socket.get(), byte);
    discard(got.descriptors);
    more = got.told_sender || got.size == -ECONNRESET;  // which is told once; what it sent follows
  }
  discard(std::span(&socket, 1));
}

void shut_down(int fd) noexcept { ::shutdown(fd, SHUT_RDWR); }

namespace {

long receive_stream(int flags, int fd, std::span<std::byte> bytes) noexcept {
  if (const int e = injected()) return -e;
  ssize_t got = 0;
  do got = ::recv(fd, bytes.data(), bytes.size(), flags);
  while (got < 0 && errno == EINTR);
  return got < 0 ? -errno : got;
}

long send_stream(int flags, int fd, std::initializer_list<std::span<const std::byte>> parts) noexcept {
  if (const int e = injected()) return -e;
  if (const auto sent = send_gathered(flags, fd, parts)) return *sent;
  std::array<iovec, most_parts> vectors;
  std::size_t count = 0;
  for (const auto& part : parts) {
    if (count < vectors.size()) vectors[count++] = {const_cast<std::byte*>(part.data()), part.size()};
  }
  msghdr header{};
  header.msg_iov = vectors.data();
  header.msg_iovlen = count;
  ssize_t sent = 0;
  do sent = ::sendmsg(fd, &header, MSG_NOSIGNAL | flags);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

}  // namespace

long receive_bytes(int fd, std::span<std::byte> bytes) noexcept { return receive_stream(MSG_WAITALL, fd, bytes); }

long receive_bytes_now(int fd, std::span<std::byte> bytes) noexcept { return receive_stream(MSG_DONTWAIT, fd, bytes); }

long send_bytes(int fd, std::initializer_list<std::span<const std::byte>> parts) noexcept {
  return send_stream(0, fd, parts);
}

long send_bytes_now(int fd, std::initializer_list<std::span<const std::byte>> parts) noexcept {
  return send_stream(MSG_DONTWAIT, fd, parts);
}

}  // namespace tandem::os
