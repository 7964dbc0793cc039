#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "os/left_names.hpp"
#include "os/system_call.hpp"

namespace tandem::os {

namespace {

#if defined(MADV_POPULATE_WRITE)
constexpr int populate_write = MADV_POPULATE_WRITE;
#else
constexpr int populate_write = 23;  // Linux 5.14, glibc 2.35
#endif
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
  return size_is_kept(fd) && size_of(fd) == static_cast<long>(bytes);
}

int huge_file(const char* name) noexcept {
  if (const int e = injected()) return -e;
  const int fd = clear_of_standard(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  return fd < 0 ? -errno : fd;
}

int resize(int fd, std::size_t bytes) noexcept {
  if (const int e = injected()) return -e;
  const limit_signal_guard guard;
  return ::ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : -errno;
}

int keep_size(int fd, more_seals more) noexcept {
  if (const int e = injected()) return -e;
  return ::fcntl(fd, F_ADD_SEALS, more == more_seals::none ? size_seals : F_SEAL_SHRINK | F_SEAL_GROW) == 0 ? 0
                                                                                                            : -errno;
}

int keep_contents(int fd) noexcept {
  if (const int e = injected()) return -e;
  return ::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0 ? 0 : -errno;
}

bool size_is_kept(int fd) noexcept {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) == (F_SEAL_SHRINK | F_SEAL_GROW);
}

bool contents_are_kept(int fd) noexcept {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0;
}

std::size_t block_bytes(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::size_t>(status.st_blksize) : 0;
}

int reserve(int fd, std::size_t offset, std::size_t bytes) noexcept {
  constexpr std::size_t piece = std::size_t{4} << 20;  // some milliseconds
  const limit_signal_guard guard;
  do {
    if (const int e = injected()) return -e;
    const std::size_t part = bytes < piece ? bytes : piece;
    int result = 0;
    do result = ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(part));
    while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    offset += part;
    bytes -= part;
  } while (bytes != 0);
  return 0;
}

namespace {
constexpr std::size_t path_bytes = 288;  // NAME_MAX and the directory

std::array<char, path_bytes> path_of(const char* name) noexcept {
  std::array<char, path_bytes> path{};
  std::snprintf(path.data(), path.size(), "/dev/shm/%s", name);
  return path;
}

int open_own(const char* name, int more_flags) noexcept {
  if (const int e = injected()) return -e;
  int opened = 0;
  do
    opened = clear_of_standard(
        ::open(path_of(name).data(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | more_flags, 0600));
  while (opened < 0 && errno == EINTR);
  file_descriptor fd(opened);
  if (!fd) return -errno;
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return -errno;
  // Not even the superuser: whoever owns it can shrink it, which would be our SIGBUS.
  return S_ISREG(status.st_mode) && status.st_uid == ::geteuid() ? fd.release() : -EACCES;
}
}  // namespace

int open_named(const char* name) noexcept { return open_own(name, O_CREAT); }
int open_left(const char* name) noexcept { return open_own(name, 0); }

std::vector<std::string> names_that_begin(std::string_view begin) {
  std::vector<std::string> names;
  std::error_code failed;
  std::filesystem::directory_iterator at("/dev/shm", failed);
  for (const std::filesystem::directory_iterator end; !failed && at != end; at.increment(failed)) {
    std::string name = at->path().filename();
    if (name.starts_with(begin)) names.push_back(std::move(name));
  }
  return names;
}

bool is_named(int fd, const char* name) noexcept {
  struct stat own {};
  struct stat named {};
  return ::fstat(fd, &own) == 0 && ::lstat(path_of(name).data(), &named) == 0 && own.st_dev == named.st_dev &&
         own.st_ino == named.st_ino;
}

void remove_name(const char* name) noexcept { ::unlink(path_of(name).data()); }

int lock_shared(int fd) noexcept {
  if (const int e = injected()) return -e;
  int result = 0;
  do result = ::flock(fd, LOCK_SH);
  while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : 0;
}

bool try_lock_shared(int fd) noexcept { return ::flock(fd, LOCK_SH | LOCK_NB) == 0; }
void unlock(int fd) noexcept { ::flock(fd, LOCK_UN); }

int open_again(int fd) noexcept {
  if (const int e = injected()) return -e;
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  const int opened = clear_of_standard(::open(path.data(), O_RDWR | O_CLOEXEC));
  return opened < 0 ? -errno : opened;
}

bool lock_alone(int fd) noexcept { return ::flock(fd, LOCK_EX | LOCK_NB) == 0; }

void* map(int fd, std::size_t offset, std::size_t bytes, void* instead_of) noexcept {
  if (const int e = injected()) {
    errno = e;
    return nullptr;
  }
  const int flags = MAP_SHARED | (instead_of != nullptr ? MAP_FIXED : 0);
  void* address = ::mmap(instead_of, bytes, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
  return address == MAP_FAILED ? nullptr : address;
}

void* map_read_only(int fd, std::size_t bytes) noexcept {
  if (const int e = injected()) {
    errno = e;
    return nullptr;
  }
  void* address = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  return address == MAP_FAILED ? nullptr : address;
}

void unmap(void* address, std::size_t bytes) noexcept {
  if (address != nullptr) ::munmap(address, bytes);
}

void prepare_to_fill(void* address, std::size_t bytes) noexcept {
  constexpr std::size_t huge = std::size_t{2} << 20;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(address) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(address) + bytes) / page * page;
  // SAFETY: whole pages within what was given; the advice changes nothing of what they hold.
  if (begin < end)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, bytes >= 2 * huge ? MADV_HUGEPAGE : populate_write);
}

void touch_as_huge(void* address, std::size_t bytes) noexcept {
  // Whoever allocates through the descriptor gets small pages: the advice is the map's.
  if (::madvise(address, bytes, MADV_HUGEPAGE) == 0) ::madvise(address, bytes, populate_write);
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
