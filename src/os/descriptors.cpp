#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "os/system_call.hpp"

namespace tandem::os {

int clear_of_standard(int fd) noexcept {
  if (fd < 0 || fd > 2) return fd;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  const int error = errno;
  ::close(fd);
  errno = error;
  return moved;
}

int duplicate(int fd) noexcept {
  if (const int e = injected()) return -e;
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return copy < 0 ? -errno : copy;
}

int duplicate_onto(int from, int to) noexcept {
  if (const int e = injected()) return -e;
  int result = 0;
  do result = ::dup3(from, to, O_CLOEXEC);
  while (result < 0 && (errno == EINTR || errno == EBUSY));
  return result < 0 ? -errno : result;
}

void replace_standard_error(int fd) noexcept {
  while (::dup2(fd, STDERR_FILENO) < 0 && (errno == EINTR || errno == EBUSY)) {
  }
}

int close_on_exec(int fd, bool closed) noexcept {
  if (const int e = injected()) return -e;
  return ::fcntl(fd, F_SETFD, closed ? FD_CLOEXEC : 0) == 0 ? 0 : -errno;
}

int open_null() noexcept {
  if (const int e = injected()) return -e;
  int fd = 0;
  do fd = clear_of_standard(::open("/dev/null", O_RDWR | O_CLOEXEC));
  while (fd < 0 && errno == EINTR);
  return fd < 0 ? -errno : fd;
}

void close(int fd) noexcept {
  if (fd < 0) return;
  const int kept = errno;
  if (::close(fd) != 0) errno = kept;  // EINTR: Linux has closed it all the same
}

void close_all(std::span<const descriptor_range> ranges) noexcept {
  for (const auto [first, last] : ranges) {
    if (system_call(SYS_close_range, first, last, 0) == 0) continue;
    for (int fd = first; fd <= last; ++fd) system_call(SYS_close, fd);  // Linux before 5.9
  }
}

std::vector<int> open_descriptors() {
  std::vector<int> found;
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) {
    rlimit limit{};
    constexpr int most = 65536;
    const int last =
        ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < most ? static_cast<int>(limit.rlim_cur) : most;
    for (int fd = 3; fd < last; ++fd) {
      if (::fcntl(fd, F_GETFD) >= 0) found.push_back(fd);
    }
    return found;
  }
  const int own = ::dirfd(directory);
  while (const dirent* entry = ::readdir(directory)) {
    char* end = nullptr;
    const long fd = std::strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0' && fd > 2 && fd != own) found.push_back(static_cast<int>(fd));
  }
  ::closedir(directory);
  return found;
}

namespace {
rlimit limit_before{};
static_assert(sizeof(rlimit) == 2 * sizeof(std::uint64_t));  // as prlimit64 has it
bool limit_raised = false;
}  // namespace

void raise_descriptor_limit() noexcept {
  if (limit_raised || ::getrlimit(RLIMIT_NOFILE, &limit_before) != 0) return;
  rlimit raised = limit_before;
  raised.rlim_cur = raised.rlim_max;
  if (limit_before.rlim_cur == raised.rlim_cur) return;
  limit_raised = ::setrlimit(RLIMIT_NOFILE, &raised) == 0;
}

void restore_descriptor_limit() noexcept {
  if (limit_raised) system_call(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit_before, nullptr);
  limit_raised = false;
}

int make_event() noexcept {
  if (const int e = injected()) return -e;
  const int fd = clear_of_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  return fd < 0 ? -errno : fd;
}

void signal_event(int event) noexcept {
  const std::uint64_t one = 1;
  const ssize_t ignored = ::write(event, &one, sizeof one);  // EAGAIN: it is readable as it is
  static_cast<void>(ignored);
}

int make_timer() noexcept {
  if (const int e = injected()) return -e;
  const int fd = clear_of_standard(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  return fd < 0 ? -errno : fd;
}

void set_timer(int timer, clock::time_point due) noexcept {
  // All zeros would switch it off.
  const auto since = std::max(nanoseconds(1), nanoseconds(due.time_since_epoch())).count();
  const itimerspec when{{}, {static_cast<time_t>(since / 1'000'000'000), static_cast<long>(since % 1'000'000'000)}};
  ::timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr);
}

int make_poll() noexcept {
  if (const int e = injected()) return -e;
  const int fd = clear_of_standard(::epoll_create1(EPOLL_CLOEXEC));
  return fd < 0 ? -errno : fd;
}

int poll_add(int poll, int fd) noexcept {
  if (const int e = injected()) return -e;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

void poll_remove(int poll, int fd) noexcept { ::epoll_ctl(poll, EPOLL_CTL_DEL, fd, nullptr); }

int poll_wait(int poll) noexcept {
  epoll_event event{};
  const int count = ::epoll_wait(poll, &event, 1, -1);
  return count == 1 ? event.data.fd : -EINTR;
}

int poll_now(int poll) noexcept {
  epoll_event event{};
  const int count = ::epoll_wait(poll, &event, 1, 0);
  return count == 1 ? event.data.fd : -EAGAIN;
}

bool hung_up(int fd) noexcept {
  pollfd one{fd, 0, 0};
  return ::poll(&one, 1, 0) == 1 && (one.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int wait_ready(std::span<ready> set, clock::time_point deadline) noexcept {
  if (const int e = injected()) return -e;
  constexpr std::size_t most_inline = 8;
  std::array<pollfd, most_inline> few{};
  std::vector<pollfd> many;
  pollfd* polled = few.data();
  try {
    if (set.size() > most_inline) {
      many.resize(set.size());
      polled = many.data();
    }
  } catch (...) {
    return -ENOMEM;
  }
  for (std::size_t i = 0; i < set.size(); ++i)
    polled[i] = {set[i].fd, static_cast<short>(set[i].for_writing ? POLLOUT : POLLIN), 0};
  int count = 0;
  do {
    timespec left{};
    const timespec* timeout = nullptr;
    if (deadline == now) {
      timeout = &left;
    } else if (deadline != never) {
      const clock::time_point current = clock::now();
      const auto remaining = deadline > current ? nanoseconds(deadline - current).count() : 0;
      left.tv_sec = static_cast<time_t>(remaining / 1'000'000'000);
      left.tv_nsec = static_cast<long>(remaining % 1'000'000'000);
      timeout = &left;
    }
    count = ::ppoll(polled, set.size(), timeout, nullptr);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return -errno;
  for (std::size_t i = 0; i < set.size(); ++i) {
    set[i].readable = polled[i].revents != 0;
    set[i].invalid = (polled[i].revents & POLLNVAL) != 0;
  }
  return count;
}

}  // namespace tandem::os
