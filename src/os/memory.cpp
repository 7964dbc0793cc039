#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "os/system_call.hpp"

namespace tandem::os {

namespace {
constexpr int size_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// RLIMIT_FSIZE holds for memory files too. While this lives, reaching it is an error, and no signal.
class limit_signal_guard {
 public:
  limit_signal_guard() noexcept {
    ::sigemptyset(&limit_);
    ::sigaddset(&limit_, SIGXFSZ);
    ::pthread_sigmask(SIG_BLOCK, &limit_, &before_);
  }
  limit_signal_guard(const limit_signal_guard&) = delete;
  limit_signal_guard& operator=(const limit_signal_guard&) = delete;
  ~limit_signal_guard() {
    if (::sigismember(&before_, SIGXFSZ) == 1) return;
    const int error = errno;
    const timespec at_once{};
    ::sigtimedwait(&limit_, nullptr, &at_once);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }

 private:
  sigset_t limit_;
  sigset_t before_;
};
}  // namespace

int anonymous_file(const char* name, std::size_t bytes) noexcept {
  if (const int e = injected()) return -e;
  file_descriptor fd(clear_of_standard(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!fd) return -errno;
  if (bytes == 0) return fd.release();
  const limit_signal_guard guard;
  // Sealed, since a peer that shrinks it would make our next access a SIGBUS.
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 || ::fcntl(fd.get(), F_ADD_SEALS, size_seals) != 0)
    return -errno;
  return fd.release();
}

bool sealed_at(int fd, std::size_t bytes) noexcept {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) == (F_SEAL_SHRINK | F_SEAL_GROW) &&
         size_of(fd) == static_cast<long>(bytes);
}

int reserve(int fd, std::size_t offset, std::size_t bytes) noexcept {
  if (const int e = injected()) return -e;
  const limit_signal_guard guard;
  int result = 0;
  do result = ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : 0;
}

void* map(int fd, std::size_t offset, std::size_t bytes, void* instead_of) noexcept {
  if (const int e = injected()) {
    errno = e;
    return nullptr;
  }
  const int flags = MAP_SHARED | (instead_of != nullptr ? MAP_FIXED : 0);
  void* address = ::mmap(instead_of, bytes, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
  return address == MAP_FAILED ? nullptr : address;
}

void unmap(void* address, std::size_t bytes) noexcept {
  if (address != nullptr) ::munmap(address, bytes);
}

int random_bytes(std::span<std::byte> bytes) noexcept {
  if (const int e = injected()) return -e;
  return ::getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()) ? 0 : -EIO;
}

void keep_from_copies(void* address, std::size_t bytes) noexcept {
  system_call(SYS_madvise, address, bytes, MADV_DONTFORK);
}

long read_some(int fd, std::span<std::byte> bytes) noexcept {
  if (const int e = injected()) return -e;
  ssize_t n = 0;
  do n = ::read(fd, bytes.data(), bytes.size());
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

long write_some(int fd, std::span<const std::byte> bytes) noexcept {
  if (const int e = injected()) return -e;
  ssize_t n = 0;
  do n = ::write(fd, bytes.data(), bytes.size());
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

int write_at(int fd, std::span<const std::byte> bytes, std::size_t offset) noexcept {
  const limit_signal_guard guard;
  while (!bytes.empty()) {
    if (const int e = injected()) return -e;
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::size_t>(n);
  }
  return 0;
}

int read_at(int fd, std::span<std::byte> bytes, std::size_t offset) noexcept {
  while (!bytes.empty()) {
    if (const int e = injected()) return -e;
    const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    if (n == 0) return -ENODATA;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::size_t>(n);
  }
  return 0;
}

long stored_bytes(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<long>(status.st_blocks) * 512 : -static_cast<long>(errno);
}

long size_of(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<long>(status.st_size) : -static_cast<long>(errno);
}

}  // namespace tandem::os
