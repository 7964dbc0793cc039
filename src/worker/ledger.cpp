#include "worker/ledger.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "os/kernel.hpp"

namespace tandem::worker {

namespace {
constexpr std::uint32_t reserved_at_once = 16;
}

ledger::ledger() {
  file_ = file_descriptor(static_cast<int>(os::check(os::anonymous_file("tandem", ledger_bytes), "memfd_create")));
  memory_ = static_cast<std::byte*>(os::map(file_.get(), 0, ledger_bytes));
  if (memory_ == nullptr) os::throw_failed("mmap", errno);
}

ledger::~ledger() { os::unmap(memory_, ledger_bytes); }

void ledger::keep_lines_only() noexcept { os::unmap(memory_ + lines_bytes, ledger_bytes - lines_bytes); }

void ledger::keep_page_only(std::uint32_t slot) noexcept {
  const std::size_t after = page_offset(slot) + page_bytes;
  os::unmap(memory_, page_offset(slot));
  if (after < ledger_bytes) os::unmap(memory_ + after, ledger_bytes - after);
}

slot_page& ledger::page(std::uint32_t slot) const noexcept {
  // SAFETY: the memory is mapped for as long as this lives, page-aligned, and holds nothing but atomics and plain data.
  return *reinterpret_cast<slot_page*>(memory_ + page_offset(slot));
}

const ending_line& ledger::line(std::uint32_t slot) const noexcept {
  // SAFETY: as page().
  return *reinterpret_cast<const ending_line*>(memory_ + slot * sizeof(ending_line));
}

// An exhausted machine says so here, where it can be thrown, and not by SIGBUS when the page is touched.
void ledger::reserve_more() {
  if (reserved_ == slot_count)
    os::throw_failed("tandem: worker slots", EAGAIN, "too many workers at once; join some first");
  const std::size_t lines = reserved_ * sizeof(ending_line);
  os::check(os::reserve(file_.get(), lines, reserved_at_once * sizeof(ending_line)), "fallocate");
  os::check(os::reserve(file_.get(), page_offset(reserved_), reserved_at_once * page_bytes), "fallocate");
  for (std::uint32_t i = reserved_at_once; i-- > 0;) free_.push_back(reserved_ + i);
  reserved_ += reserved_at_once;
}

std::uint32_t ledger::find_free() {
  const auto written = [this](std::uint32_t slot) { return line(slot).reaped.load(std::memory_order_acquire) == 1; };
  while (!awaiting_server_.empty() && written(awaiting_server_.front())) {
    free_.push_back(awaiting_server_.front());
    awaiting_server_.pop_front();
  }
  if (free_.empty()) {  // one at the front whose server died with it must not hold up the others
    std::erase_if(awaiting_server_, [&](std::uint32_t slot) {
      if (!written(slot)) return false;
      free_.push_back(slot);
      return true;
    });
  }
  if (free_.empty()) reserve_more();
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

std::uint32_t ledger::take() {
  std::uint32_t slot = 0;
  {
    const std::lock_guard lock(mutex_);
    free_.reserve(free_.size() + reserved_at_once + awaiting_server_.size());
    slot = find_free();
  }
  // SAFETY: as page(); no worker has this slot, and the server does not write a line before the start it belongs to.
  auto* header = memory_ + page_offset(slot);
  std::memset(header, 0, slot_page::header_bytes);
  std::memset(memory_ + slot * sizeof(ending_line), 0, sizeof(ending_line));
  return slot;
}

void ledger::give_back(std::uint32_t slot, bool written_by_server) {
  const std::lock_guard lock(mutex_);
  try {
    if (written_by_server) {
      awaiting_server_.push_back(slot);
    } else {
      free_.push_back(slot);
    }
  } catch (const std::bad_alloc&) {  // one slot of 16 384 is lost; nothing else is
  }
}

}  // namespace tandem::worker
