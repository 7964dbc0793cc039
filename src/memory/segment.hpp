#pragma once
// A mapped segment: its descriptor, and where it is in this process.
//
// The file of a segment is its contents, from offset 0 on, and at its very end a label, which says what the contents are.
// A peer may write over the label: it tells an honest mistake from the right memory, and no bound is taken from it.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include <tandem/detail/memory_segment.hpp>

namespace tandem::detail {

struct segment_label {
  std::uint64_t magic = 0;
  std::uint32_t kind = 0;
  std::uint32_t element_bytes = 0;
  std::uint64_t content_bytes = 0;
  std::uint64_t session = 0;                  // of the processes whose locks are inside; 0: none are
  std::atomic<std::uint32_t> on_the_way = 0;  // handles that write, sent and not yet mapped
  std::uint32_t unused[7] = {};
};
static_assert(sizeof(segment_label) == 64 && std::atomic<std::uint32_t>::is_always_lock_free);

constexpr std::uint64_t label_magic = 0x316d'656d'646e'6174;  // "tandmem1"

class mapping {
 public:
  /// Memory of its own. Errors: resource_exhausted.
  mapping(const segment_shape& shape, bool huge_pages);
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

 private:
  bool take_huge(const segment_shape& shape);
  void take_ordinary(const segment_shape& shape, bool huge_pages);
  segment_label& label() const noexcept;

  file_descriptor file_;
  std::byte* address_ = nullptr;
  std::size_t bytes_ = 0;  // of the file, and of the map
  std::mutex sending_;     // between a look at the seals and the count of what is on the way
};

}  // namespace tandem::detail
