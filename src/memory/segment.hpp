#pragma once
// A mapped segment: its descriptor, and where it is in this process.
//
// The file of a segment is its contents, from offset 0 on, and at its very end a label, which says what the contents are.
// A peer may write over the label: it tells an honest mistake from the right memory, and no bound is taken from it.
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include <tandem/detail/memory_segment.hpp>
#include <tandem/detail/sync_memory.hpp>

namespace tandem::detail {

struct segment_label {
  std::uint64_t magic = 0;
  std::uint32_t kind = 0;
  std::uint32_t element_bytes = 0;
  std::uint64_t content_bytes = 0;
  std::uint64_t session = 0;  // of the processes whose locks are inside; 0: none are
  std::uint64_t unused = 0;
  std::uint64_t number = 0;  // of memory with locks: by it a latch knows who owes it a count
  std::uint32_t unused_too[4] = {};
};
static_assert(sizeof(segment_label) == 64);

constexpr std::uint64_t label_magic = 0x316d'656d'646e'6174;  // "tandmem1"

constexpr std::size_t no_size = 0;
/// Of the file, in whole units; no_size if that is more than can be addressed.
std::size_t file_bytes(const segment_shape& shape, std::size_t unit);
/// Throws decode_error unless the descriptor is a file of a segment, of that shape. Gives the file's size.
std::size_t check_file(int fd, const segment_shape& shape);

/// A name in /dev/shm, as one who asked for it has it. Each of them has the file open and locked (flock, shared); the last
/// one removes the name. What nobody has locked is left over from processes that were killed: it is made anew. Whoever was
/// handed the memory has it without the name.
class named_file {
 public:
  /// Opens or makes it. Errors: std::invalid_argument; resource_exhausted.
  explicit named_file(const std::string& name, const segment_shape& shape);
  named_file(const named_file&) = delete;
  named_file& operator=(const named_file&) = delete;

  bool is_joined() const noexcept { return joined_; }
  file_descriptor take() noexcept { return std::move(file_); }
  /// Makes the file so large, with the begin of a label at its end. 0, or minus errno.
  static int size_by_label(int fd, std::size_t bytes);
  /// The memory is made: others may join. Errors: resource_exhausted.
  void publish(int fd) const;
  /// Removes the name if nobody else has the memory.
  void leave(int fd) const noexcept;

 private:
  std::string file_name_;
  file_descriptor file_ = {};
  bool joined_ = false;
  int opened_by_;  // a process; its copies leave the name alone
};

/// Removes the names of memory that nobody has any more: those who asked for it were killed. Errors: std::bad_alloc.
void remove_names_of_the_killed();

class mapping {
 public:
  /// Memory of its own. Errors: resource_exhausted; with a name: std::invalid_argument.
  mapping(const segment_shape& shape, const memory_options& options);
  /// What came from elsewhere. Errors: decode_error, resource_exhausted.
  mapping(segment_shape shape, segment_parcel parcel);
  ~mapping();
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;

  void* address() const noexcept { return address_; }
  /// A descriptor for another process. Errors: resource_exhausted; std::logic_error.
  file_descriptor hand_out(bool writable);
  void keep_contents();
  file_descriptor descriptor() const { return file_; }
  bool is_named() const noexcept { return is_named_; }
  bool is_joined() const noexcept { return named_ && named_->is_joined(); }
  void publish() const;

 private:
  bool take_huge(const segment_shape& shape);
  void take_ordinary(const segment_shape& shape, bool huge_pages);
  void attach(const segment_shape& shape, memory_origin origin);
  void make_label(const segment_shape& shape) const;
  segment_label& label() const noexcept;
  file_descriptor file_on_the_way() const;

  file_descriptor file_;
  std::byte* address_ = nullptr;
  std::size_t bytes_ = 0;  // of the file, and of the map
  bool is_named_ = false;
  bool has_readers_ = false;              // it is of a kind that has read_only(), and has no name
  std::optional<named_file> named_ = {};  // by name it was asked for
  bool attached_ = false;                 // to the locks that are inside
  std::mutex sending_;                    // between a look at the seals and the lock of what is on the way
};

}  // namespace tandem::detail
