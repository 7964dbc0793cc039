#include "memory/segment.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>

#include <tandem/error.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/session.hpp"

namespace tandem::detail {

std::size_t file_bytes(const segment_shape& shape, std::size_t unit) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(shape.count, std::size_t{shape.element_bytes}, &bytes) ||
      __builtin_add_overflow(bytes, sizeof(segment_label) + unit - 1, &bytes) ||
      bytes > static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()))
    return no_size;
  return bytes / unit * unit;
}

namespace {

std::size_t content_bytes(const segment_shape& shape) { return shape.count * shape.element_bytes; }

[[noreturn]] void refuse_size(const segment_shape& shape, const std::string& why) {
  os::throw_failed("fallocate", ENOMEM,
                   std::to_string(shape.count) + " elements of " + std::to_string(shape.element_bytes) +
                       " bytes were asked for, and " + why);
}

// The kernel kills processes rather than refuse memory: what cannot be had must not be begun.
void check_room(const segment_shape& shape, std::size_t bytes) {
  constexpr std::size_t worth_a_look = std::size_t{4} << 20;  // the look costs as much as some hundred KiB
  if (bytes < worth_a_look) return;
  const std::size_t available = os::available_memory();
  if (bytes > available) refuse_size(shape, "about " + std::to_string(available) + " bytes are available");
}

// Only arrays have read_only(). A peer that may add seals can keep everybody else from being given a handle that writes.
os::more_seals seals_to_come(const segment_shape& shape) {
  return shape.kind == segment_kind::array ? os::more_seals::may_come : os::more_seals::none;
}

std::byte* map_all(int fd, std::size_t bytes, bool writable) {
  void* address = writable ? os::map(fd, 0, bytes) : os::map_read_only(fd, bytes);
  if (address == nullptr) os::throw_failed("mmap", errno);
  return static_cast<std::byte*>(address);
}

}  // namespace

std::size_t check_file(int fd, const segment_shape& shape) {
  const std::size_t least = file_bytes(shape, 1);
  const long size = os::size_of(fd);
  if (least == no_size || size < 0 || static_cast<std::size_t>(size) < least)
    throw decode_error("tandem: shared memory of " + std::to_string(size) + " bytes came for " +
                       std::to_string(shape.count) + " elements of " + std::to_string(shape.element_bytes) + " bytes");
  alignas(segment_label) std::array<std::byte, sizeof(segment_label)> copy{};
  os::check(os::read_at(fd, copy, static_cast<std::size_t>(size) - copy.size()), "pread");
  segment_label found;
  std::memcpy(static_cast<void*>(&found), copy.data(), offsetof(segment_label, unused));
  if (found.magic != label_magic || found.kind != static_cast<std::uint32_t>(shape.kind) ||
      found.element_bytes != shape.element_bytes || found.content_bytes != content_bytes(shape))
    throw decode_error("tandem: a descriptor came that is other memory than its message says");
  if (shape.has_locks && found.session != sync::session_id())
    throw decode_error(
        "tandem: shared memory with locks inside came from a program that did not start this one: its locks would not "
        "know who is alive here; let one program start both, or use sockets");
  return static_cast<std::size_t>(size);
}

mapping::mapping(const segment_shape& shape, const memory_options& options)
    : is_named_(!options.name.empty()), has_readers_(!is_named_ && shape.kind == segment_kind::array) {
  if (is_named_) {
    named_.emplace(options.name, shape);
    file_ = named_->take();
  }
  try {
    if (is_joined()) {
      bytes_ = check_file(file_.get(), shape);
      address_ = map_all(file_.get(), bytes_, true);
    } else if (is_named_ || !options.huge_pages || !take_huge(shape))
      take_ordinary(shape, options.huge_pages);
  } catch (...) {
    if (named_) named_->leave(file_.get());
    os::unmap(address_, bytes_);
    throw;
  }
  if (!is_joined()) make_label(shape);
  attach(shape, memory_origin::made);
}

void mapping::attach(const segment_shape& shape, memory_origin origin) {
  if (!shape.has_locks) return;
  try {
    attach_memory(label().number, address_, bytes_, origin);
  } catch (...) {
    if (named_) named_->leave(file_.get());
    os::unmap(address_, bytes_);
    throw;
  }
  attached_ = true;
}

void mapping::make_label(const segment_shape& shape) const {
  auto* made = new (address_ + bytes_ - sizeof(segment_label)) segment_label;
  made->magic = label_magic;
  made->kind = static_cast<std::uint32_t>(shape.kind);
  made->element_bytes = shape.element_bytes;
  made->content_bytes = content_bytes(shape);
  made->session = shape.has_locks ? sync::session_id() : 0;
  made->number = shape.has_locks ? new_memory_number() : 0;
}

mapping::~mapping() {
  if (named_) named_->leave(file_.get());
  if (attached_) detach_memory(address_);
  os::unmap(address_, bytes_);
}

void mapping::publish() const {
  if (named_ && !named_->is_joined()) named_->publish(file_.get());
}

// Huge pages are set aside by the administrator: there are some, or there are not.
bool mapping::take_huge(const segment_shape& shape) {
  file_descriptor file(os::huge_file("tandem memory"));
  const std::size_t page = file ? os::block_bytes(file.get()) : 0;
  const std::size_t bytes = page == 0 ? no_size : file_bytes(shape, page);
  if (bytes == no_size || os::resize(file.get(), bytes) != 0 || os::reserve(file.get(), 0, bytes) != 0 ||
      os::keep_size(file.get(), seals_to_come(shape)) != 0)
    return false;
  void* address = os::map(file.get(), 0, bytes);
  if (address == nullptr) return false;
  file_ = std::move(file);
  address_ = static_cast<std::byte*>(address);
  bytes_ = bytes;
  return true;
}

void mapping::take_ordinary(const segment_shape& shape, bool huge_pages) {
  const std::size_t bytes = file_bytes(shape, 4096);
  if (bytes == no_size) refuse_size(shape, "no program can address so much");
  check_room(shape, bytes);
  if (!is_named_)
    file_ = file_descriptor(static_cast<int>(os::check(os::anonymous_file("tandem memory", 0), "memfd_create")));
  if (is_named_) {
    os::check(named_file::size_by_label(file_.get(), bytes), "pwrite");
  } else {
    os::check(os::resize(file_.get(), bytes), "ftruncate");
  }
  address_ = map_all(file_.get(), bytes, true);  // before the memory is taken: this may fail too, and is cheap
  bytes_ = bytes;
  if (huge_pages) os::touch_as_huge(address_, bytes);
  if (const int failed = os::reserve(file_.get(), 0, bytes); failed != 0)
    os::throw_failed("fallocate", -failed, std::to_string(bytes) + " bytes were to be reserved");
  // The kernel seals no file with a name.
  if (!is_named_) os::check(os::keep_size(file_.get(), seals_to_come(shape)), "fcntl(F_ADD_SEALS)");
}

mapping::mapping(segment_shape shape, segment_parcel parcel)
    : is_named_(parcel.is_named), has_readers_(!is_named_ && shape.kind == segment_kind::array) {
  shape.count = parcel.count;
  const int fd = parcel.descriptor.get();
  if (is_named_) {
    // It cannot be sealed: whoever sent it could shrink it under us. A worker trusts the program that started it.
    if (os::current_role() != os::role::worker)
      throw decode_error("tandem: shared memory with a name came from a worker: join it by its name instead");
  } else if (!os::size_is_kept(fd)) {
    throw decode_error("tandem: a descriptor that should be shared memory is none, or its size could still change");
  }
  bytes_ = check_file(fd, shape);
  const bool kept = os::contents_are_kept(fd);
  if (kept == parcel.writable)
    throw decode_error(kept
                           ? "tandem: read_only() was called before this handle, which writes, arrived: let those that "
                             "write begin first"
                           : "tandem: a handle that only reads came with memory that can be written");
  address_ = map_all(fd, bytes_, parcel.writable);
  file_ = std::move(parcel.descriptor);
  if (parcel.writable && has_readers_) os::unlock(file_.get());  // it has arrived
  attach(shape, memory_origin::handed);
}

segment_label& mapping::label() const noexcept {
  // SAFETY: this process or its peer made a label there; all patterns of its bytes are values of its members.
  return *std::launder(reinterpret_cast<segment_label*>(address_ + bytes_ - sizeof(segment_label)));
}

file_descriptor mapping::hand_out(bool writable) {
  const std::lock_guard lock(sending_);
  if (is_named_) return file_;
  if (writable && os::contents_are_kept(file_.get()))
    throw std::logic_error(
        "tandem: read_only() was called for this memory, or a process that has it sealed it, so no other process can "
        "get "
        "a handle of it that writes: pass those handles before, or pass what read_only() gave");
  return writable && has_readers_ ? file_on_the_way() : file_;
}

// Locked until it is mapped elsewhere, or until it is gone: with the message that nobody read, say, or the process that was
// killed before it did. A count would have to be kept by those who are gone.
file_descriptor mapping::file_on_the_way() const {
  const int opened = os::open_again(file_.get());
  // Without /proc, or where a sandbox denies it: nobody knows that it is on its way, and read_only() before it arrives is an
  // error there instead of here.
  if (opened == -ENOENT || opened == -EACCES || opened == -EPERM) return file_;
  file_descriptor sent(static_cast<int>(os::check(opened, "open")));
  os::try_lock_shared(sent.get());  // else another process is in read_only() at this moment
  return sent;
}

void mapping::keep_contents() {
  if (is_named_)
    throw std::logic_error(
        "tandem: read_only() of memory with a name, which every program of this user can open for writing: make it "
        "without a name");
  const std::lock_guard lock(sending_);
  if (os::contents_are_kept(file_.get())) return;
  if (!os::lock_alone(file_.get()))
    throw std::logic_error(
        "tandem: read_only() while a handle that writes is on its way to another process, which could no longer map "
        "it: "
        "call it before that, or once the process has the handle (it has returned, say)");
  const int kept = os::keep_contents(file_.get());
  os::unlock(file_.get());
  os::check(kept, "fcntl(F_ADD_SEALS)");
}

// ---- segment ------------------------------------------------------------------------------------------------------

segment::segment(const segment_shape& shape, const memory_options& options)
    : mapping_(std::make_shared<mapping>(shape, options)),
      address_(mapping_->address()),
      count_(static_cast<std::size_t>(shape.count)) {}

segment::segment(segment_shape shape, segment_parcel parcel)
    : count_(static_cast<std::size_t>(parcel.count)), writable_(parcel.writable) {
  mapping_ = std::make_shared<mapping>(shape, std::move(parcel));
  address_ = mapping_->address();
}

bool segment::is_joined() const noexcept { return mapping_->is_joined(); }
void segment::publish() const { mapping_->publish(); }

segment_parcel segment::parcel() const {
  segment_parcel made;
  made.count = count_;
  made.writable = writable_;
  if (!mapping_) return made;
  made.is_named = mapping_->is_named();
  made.descriptor = mapping_->hand_out(writable_);
  return made;
}

segment segment::read_only() const {
  if (mapping_ && writable_) mapping_->keep_contents();
  segment reading(*this);
  reading.writable_ = false;
  return reading;
}

file_descriptor segment::descriptor() const { return mapping_ ? mapping_->descriptor() : file_descriptor(); }

}  // namespace tandem::detail
