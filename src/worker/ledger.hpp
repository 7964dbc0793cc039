#pragma once
// What a program and its workers share: a page for each worker, and apart from these a line for each that only the fork
// server writes. Both stand in one sealed memfd. A worker maps its own page and nothing else, so whatever it scribbles
// there concerns itself, unless it enlarges the map on purpose (mremap), which takes a sandbox to prevent; whoever reads a
// page copies, then checks, then uses.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include <tandem/file_descriptor.hpp>

namespace tandem::worker {

enum class phase : std::uint32_t {
  fresh,      // nothing of it has run
  revoked,    // the host took it back: it must not begin
  begun,      // the worker decodes, runs or encodes
  value,      // the result is in the page
  value_out,  // the result went to the server in a memfd
  error,      // an encoded exception is in the page
  error_out,  // an encoded exception went to the server in a memfd
};

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t note_bytes = 256;
constexpr std::size_t log_bytes = 512;

struct slot_page {
  std::atomic<std::uint32_t> state;  // a phase; the release store of a result pairs with the host's acquire load
  std::atomic<std::uint32_t> stop;   // a futex: 1 once a stop is requested
  std::uint32_t result_bytes;
  std::uint32_t log_used;
  std::uint32_t log_dropped;
  std::uint32_t unused;
  std::array<char, note_bytes> exception_type;  // of an uncaught exception, terminated by 0
  std::array<char, note_bytes> exception_what;
  std::array<char, log_bytes> log;  // records: level, length (2 bytes), text
  static constexpr std::size_t header_bytes = 24 + 2 * note_bytes + log_bytes;
  static constexpr std::size_t result_capacity = page_bytes - header_bytes;
  std::array<std::byte, result_capacity> result;
};
static_assert(sizeof(slot_page) == page_bytes);

struct ending_line {
  std::atomic<std::uint32_t> reaped;  // 1: the rest is there (release/acquire)
  std::int32_t value;                 // the exit code, or minus the signal
  std::int64_t cpu_ns;
  std::int64_t peak_bytes;
  std::uint32_t process;  // its handle in the session; written when it is started
  std::uint32_t unused;
};
static_assert(sizeof(ending_line) == 32);

constexpr std::uint32_t slot_count = 16384;
constexpr std::size_t lines_bytes = slot_count * sizeof(ending_line);
constexpr std::size_t ledger_bytes = lines_bytes + slot_count * page_bytes;
static_assert(lines_bytes % page_bytes == 0);
constexpr std::size_t page_offset(std::uint32_t slot) { return lines_bytes + slot * page_bytes; }

/// The ledger of one program: which slots are free, and their memory, reserved before it is first touched.
/// Threads: any, at once.
class ledger {
 public:
  ledger();  // resource_exhausted
  ~ledger();
  ledger(const ledger&) = delete;
  ledger& operator=(const ledger&) = delete;

  int descriptor() const noexcept { return file_.get(); }
  /// A slot with a clean page. resource_exhausted if all are in use or memory is.
  std::uint32_t take();
  /// Gives back a slot whose worker has ended, once the server has written its line; `abandoned`: the server is dead,
  /// or never had it.
  void give_back(std::uint32_t slot, bool written_by_server);
  slot_page& page(std::uint32_t slot) const noexcept;
  const ending_line& line(std::uint32_t slot) const noexcept;

  /// In the keeper, the server and the workers: forget the host's pages; the lines stay, for the server.
  void keep_lines_only() noexcept;
  /// In a copy of the host: forget all but its own page.
  void keep_page_only(std::uint32_t slot) noexcept;
  std::byte* memory() const noexcept { return memory_; }

 private:
  std::uint32_t find_free();
  void reserve_more();

  file_descriptor file_;
  std::byte* memory_ = nullptr;
  std::mutex mutex_;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> awaiting_server_;
  std::uint32_t reserved_ = 0;
};

}  // namespace tandem::worker
