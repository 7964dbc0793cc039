#pragma once
// A piece of memory that several processes map, and what of it goes from one to the other.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <tandem/detail/export.hpp>
#include <tandem/file_descriptor.hpp>

namespace tandem {

struct memory_options {
  std::string name = {};    // empty: unnamed; else programs of this user that use the same name share it
  bool huge_pages = false;  // where the machine gives them, else ordinary ones
};

namespace detail {

enum class segment_kind : std::uint32_t { bytes = 1, array = 2, object = 3, queue = 4 };

/// What a segment is made for. Both sides know it by the type of the handle, but for the count.
struct segment_shape {
  segment_kind kind = segment_kind::bytes;
  std::uint32_t element_bytes = 1;
  std::uint64_t count = 0;
  bool has_locks = false;  // it works for one program and its workers only
};

/// What goes to another process. No descriptor: it is that of a handle that was moved from.
struct segment_parcel {
  std::uint64_t count = 0;
  bool writable = true;
  bool is_named = false;
  file_descriptor descriptor = {};
};

class mapping;

/// A handle of a mapped segment; copies are of the same mapping, which goes with the last of them.
class TANDEM_EXPORT segment {
 public:
  segment() noexcept = default;
  /// Makes memory of zeros, or joins what has that name. Errors: resource_exhausted; of names: see shared_array.
  segment(const segment_shape& shape, const memory_options& options);
  /// What came from another process; `shape` is what it must be, but for the count. Errors: decode_error if it is not;
  /// resource_exhausted if it cannot be mapped.
  segment(segment_shape shape, segment_parcel parcel);
  segment(const segment&) noexcept = default;
  segment(segment&& other) noexcept
      : mapping_(std::move(other.mapping_)),
        address_(std::exchange(other.address_, nullptr)),
        count_(std::exchange(other.count_, 0)),
        writable_(other.writable_) {}
  segment& operator=(const segment&) noexcept = default;
  segment& operator=(segment&& other) noexcept {
    segment taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~segment() = default;

  void* address() const noexcept { return address_; }
  std::size_t count() const noexcept { return count_; }
  /// True for memory that was joined by its name, and had been made before.
  bool is_joined() const noexcept;
  /// What is in it is made: others may join it by its name. Errors: resource_exhausted.
  void publish() const;
  /// Errors: resource_exhausted; std::logic_error if it is writable and read_only() was called.
  segment_parcel parcel() const;
  /// A handle that only reads, for others too; from then on the memory can be given to nobody for writing.
  /// Errors: std::logic_error; resource_exhausted.
  segment read_only() const;
  /// Errors: resource_exhausted.
  file_descriptor descriptor() const;

 private:
  void swap(segment& other) noexcept {
    mapping_.swap(other.mapping_);
    std::swap(address_, other.address_);
    std::swap(count_, other.count_);
    std::swap(writable_, other.writable_);
  }

  std::shared_ptr<mapping> mapping_;
  void* address_ = nullptr;
  std::size_t count_ = 0;
  bool writable_ = true;
};

/// How the codec, which stands to the right of memory, reaches the segment of a handle.
template <class Handle>
struct memory_access {
  static segment_parcel parcel(const Handle& handle) { return handle.segment_.parcel(); }
  static Handle receive(segment_parcel parcel) {
    return parcel.descriptor ? Handle(segment(Handle::shape(0), std::move(parcel))) : Handle(segment());
  }
};

}  // namespace detail
}  // namespace tandem
