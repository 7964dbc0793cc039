#include "gate.hpp"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>
#include <new>
#include <system_error>

namespace cli::kernel {

namespace {

// Without FUTEX_PRIVATE_FLAG, since those who wait are processes, too.
void wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, const timespec* timeout) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, timeout, nullptr, 0);
}

void wake_all(std::atomic<std::uint32_t>& word) noexcept { ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX); }

}  // namespace

gate::gate() {
  void* memory = ::mmap(nullptr, sizeof(page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "cannot map memory");
  // SAFETY: lock-free atomics in memory that all processes which use it have inherited, at the same address.
  shared_ = new (memory) page;
}

gate::~gate() { ::munmap(shared_, sizeof(page)); }

void gate::pass() noexcept {
  shared_->arrived.fetch_add(1);
  wake_all(shared_->arrived);
  while (shared_->opened.load() == 0) wait(shared_->opened, 0, nullptr);
}

bool gate::wait_for(std::uint32_t many, const std::function<bool()>& hopeless) {
  constexpr timespec now_and_then{0, 50'000'000};
  for (;;) {
    const std::uint32_t so_far = shared_->arrived.load();
    if (so_far >= many) return true;
    if (hopeless()) return false;
    wait(shared_->arrived, so_far, &now_and_then);
  }
}

void gate::open() noexcept {
  shared_->opened.store(1);
  wake_all(shared_->opened);
}

void gate::close() noexcept {
  shared_->arrived.store(0);
  shared_->opened.store(0);
}

}  // namespace cli::kernel
