#pragma once
// The bytes below the codec: appending, taking, and the two bounds on hostile input, depth and memory.
//
// Memory: decoding charges what it is about to allocate to a budget of 1 MiB + 1024 times the bytes given, before it
// does. Encoding makes the same sums, and where a value is larger than its bytes would warrant (a long vector of empty
// optionals, each of 4 KiB), it appends as many zeros as are missing. Decoding accepts exactly these.
//
// Templates on the stream where its members are used: writer and reader are complete only in <tandem/transfer.hpp>.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include <tandem/detail/export.hpp>
#include <tandem/file_descriptor.hpp>

namespace tandem {

class writer;
class reader;

namespace detail {

inline constexpr unsigned max_depth = 500;
inline constexpr std::size_t free_budget = std::size_t{1} << 20;
inline constexpr std::size_t budget_per_byte = 1024;

/// What a container allocates: for each element, and once.
struct allocation {
  std::size_t each = 0;
  std::size_t once = 0;
};

/// Memory for what is too large for a writer of its own.
class block_store {
 public:
  /// Room for so many bytes, of which the first are those of `kept`. The room given before is not used any more.
  virtual std::span<std::byte> grow(std::size_t bytes, std::span<const std::byte> kept) = 0;

 protected:
  ~block_store() = default;
};

struct wire {
  template <class Writer>
  static void append(Writer& w, const void* from, std::size_t size) {
    if (size > sizeof w.stage_ - w.staged_) {
      append_block(w, from, size);
    } else if (size != 0) {
      std::memcpy(w.stage_ + w.staged_, from, size);
      w.staged_ += static_cast<unsigned>(size);
    }
  }
  template <class Writer>
  static void append_count(Writer& w, std::uint64_t count) {
    append(w, &count, sizeof count);
  }

  template <class Reader>
  static std::size_t remaining(const Reader& r) noexcept {
    return r.remaining();
  }
  /// The next `size` bytes.
  template <class Reader>
  static const std::byte* take(Reader& r, std::size_t size) {
    if (size > r.remaining()) fail_truncated(r, size);
    const std::byte* bytes = r.at_;
    r.at_ += size;
    return bytes;
  }
  template <class Number, class Reader>
  static Number take_number(Reader& r) {
    Number number;
    std::memcpy(&number, take(r, sizeof number), sizeof number);
    // Read once, though others may write there: what is checked is what is used.
    asm volatile("" : "+r"(number));
    return number;
  }
  /// Of a writer, or of a reader, which has a budget.
  template <class Stream>
  static void charge(Stream& s, std::size_t bytes) {
    if constexpr (std::is_same_v<Stream, reader>) {
      if (bytes > s.budget_ - s.charge_) fail_budget(s);
    }
    s.charge_ += bytes;
  }

  /// Begins `count` elements.
  template <class Writer>
  static void begin(Writer& w, std::size_t count, allocation a) {
    append_count(w, count);
    charge(w, count * a.each + a.once);
  }
  /// The number of elements that follow, each of at least `smallest` bytes. So many may be allocated.
  template <class Reader>
  static std::size_t expect(Reader& r, std::size_t smallest, allocation a) {
    const auto count = take_number<std::uint64_t>(r);
    if (smallest != 0 && count > r.remaining() / smallest) fail_count(r, count);
    const std::size_t left = r.budget_ - r.charge_;
    if (a.once > left || (a.each != 0 && count > (left - a.once) / a.each)) fail_budget(r);
    r.charge_ += static_cast<std::size_t>(count) * a.each + a.once;
    return static_cast<std::size_t>(count);
  }

  /// One level deeper, as long as it lives.
  template <class Stream>
  class level {
   public:
    explicit level(Stream& s) : depth_(s.depth_) {
      if (depth_ == max_depth) fail_depth(s);
      ++depth_;
    }
    level(const level&) = delete;
    level& operator=(const level&) = delete;
    ~level() { --depth_; }

   private:
    unsigned& depth_;
  };

  TANDEM_EXPORT static void append_block(writer& w, const void* from, std::size_t size);
  /// Fresh memory that will be filled: the first touch of a large block costs more than copying it.
  static void will_fill(void* memory, std::size_t size) noexcept {
    if (size >= large_block) prepare_block(memory, size);
  }
  static constexpr std::size_t large_block = std::size_t{256} << 10;
  static constexpr std::size_t huge_block = std::size_t{4} << 20;
  static constexpr std::size_t stored_from = std::size_t{64} << 10;
  /// From so many bytes on, what is written goes there; before anything was written.
  template <class Writer>
  static void store_large_in(Writer& w, block_store& store) noexcept {
    w.store_ = &store;
  }
  /// All that was written, with the zeros that it needs; valid until `w` changes.
  TANDEM_EXPORT static std::span<const std::byte> finished(writer& w);
  TANDEM_EXPORT static std::vector<std::byte> taken(writer&& w);
  TANDEM_EXPORT static void check_end(reader& r);
  static reader make(std::span<const std::byte> bytes, std::span<file_descriptor> handles) noexcept;

  /// `handle` goes with what is written.
  TANDEM_EXPORT static void attach(writer& w, file_descriptor handle);
  /// The next handle that came with what is read.
  TANDEM_EXPORT static file_descriptor detach(reader& r);
  static std::vector<file_descriptor> taken_handles(writer&& w) noexcept;

  [[noreturn]] TANDEM_EXPORT static void fail(const reader& r, const char* what);
  [[noreturn]] TANDEM_EXPORT static void fail_truncated(const reader& r, std::size_t size);
  [[noreturn]] TANDEM_EXPORT static void fail_count(const reader& r, std::uint64_t count);
  [[noreturn]] TANDEM_EXPORT static void fail_budget(const reader& r);
  [[noreturn]] TANDEM_EXPORT static void fail_depth(const reader& r);
  [[noreturn]] TANDEM_EXPORT static void fail_depth(const writer& w);
  [[noreturn]] TANDEM_EXPORT static void fail_valueless();

 private:
  TANDEM_EXPORT static void prepare_block(void* memory, std::size_t size) noexcept;
  static void append_outside(writer& w, const void* from, std::size_t size);
  static std::size_t padded_size(std::size_t charge, std::size_t size) noexcept;
};

// What the other layers call. A message is: one writer, any number of values, its bytes; then one reader, the same
// values, and the end.

/// What goes to another process: bytes and handles.
struct message {
  std::vector<std::byte> bytes = {};
  std::vector<file_descriptor> handles = {};
};
inline message take_message(writer&& w);

/// The bytes of all that was written.
inline std::vector<std::byte> take_bytes(writer&& w) { return wire::taken(static_cast<writer&&>(w)); }
/// The same without a copy or an allocation; valid until `w` changes or is gone. Nothing may be written after it.
inline std::span<const std::byte> finished_bytes(writer& w) { return wire::finished(w); }
/// A reader of `bytes`, which must outlive it, and of the handles that came with them, of which it takes those that it
/// reads.
reader make_reader(std::span<const std::byte> bytes, std::span<file_descriptor> handles = {}) noexcept;
/// Throws decode_error unless all was read.
inline void finish(reader& r) { wire::check_end(r); }

}  // namespace detail
}  // namespace tandem
