#pragma once
// Memory that threads and processes both see: an object, an array, or bytes.
//
// A handle is passed to a worker as an argument, returned, or put into containers and aggregates; the memory itself is
// never copied, and is gone with its last handle, however that ended. It is reserved when it is made: what the machine
// cannot give is an error there, and no crash at a later access.
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include <tandem/detail/memory_segment.hpp>
#include <tandem/detail/memory_shareable.hpp>
#include <tandem/mutex.hpp>

namespace tandem {

template <class T>
class shared_array;

/// True if a T may live in shared memory: trivially copyable types, lock-free atomics, those of <tandem/sync.hpp>, pairs,
/// tuples, optionals, arrays and aggregates of those; nowhere inside a pointer, a reference or a view. What a trivially
/// copyable class keeps private is not seen: that it holds no pointer is its author's word. Other classes:
/// enable_shared.
template <class T>
concept shareable = detail::can_be_shared<T>();

namespace detail {

inline constexpr std::size_t largest_alignment = 4096;  // memory is mapped in pages

template <class T>
constexpr segment_shape shape_of_elements(segment_kind kind, std::size_t count) noexcept {
  static_assert(!std::is_reference_v<T>, "tandem: a reference cannot live in shared memory: keep the value itself");
  require_shareable<std::remove_const_t<T>>();
  static_assert(alignof(T) <= largest_alignment,
                "tandem: shared memory is aligned to pages of 4096 bytes, and no further");
  static_assert(sizeof(T) <= UINT32_MAX, "tandem: an element of shared memory has less than 4 GiB");
  return {kind, static_cast<std::uint32_t>(sizeof(T)), count, holds_locks<std::remove_const_t<T>>()};
}

}  // namespace detail

/// One T in shared memory, and a lock beside it. Copies are handles of the same object, in other processes too; ~T is
/// never run. A moved-from handle has no object.
/// Threads: any, at once; with() lets one at a time to the object.
template <class T>
class shared {
  static_assert(std::is_same_v<T, std::remove_cv_t<T>>, "tandem: write shared<T> without const or volatile");

 public:
  /// Makes the object as T{arguments...}, or as T(arguments...) where only that compiles: shared<double>(n).
  /// Blocks: never. Errors: resource_exhausted (no memory, no descriptor); what the constructor of T throws.
  /// Cost: some ten system calls, and a page or more of memory.
  template <class... A>
  requires(!(std::is_same_v<std::decay_t<A>, shared> || ...) &&
           !(std::is_same_v<std::decay_t<A>, detail::segment> || ...)) explicit shared(A&&... arguments)
      : segment_(shape(1), memory_options{}) {
    if constexpr (std::is_aggregate_v<T> || requires { T{std::forward<A>(arguments)...}; }) {
      new (segment_.address()) contents{T{std::forward<A>(arguments)...}};
    } else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"  // asked for: as by a cast
#pragma GCC diagnostic ignored "-Wsign-conversion"
      new (segment_.address()) contents{T(std::forward<A>(arguments)...)};
#pragma GCC diagnostic pop
    }
  }

  /// The object, without the lock.
  T& operator*() const noexcept { return *get(); }
  T* operator->() const noexcept { return get(); }
  /// Its address in this process; nullptr of a moved-from handle.
  T* get() const noexcept { return segment_.address() == nullptr ? nullptr : &all().object; }

  /// What `f(object)` gives, which is called under the lock that comes with the object.
  /// Blocks: until the lock is free. Errors: owner_died, without a call of `f`, once a thread or process has died in a
  /// call like this one, until lock_and_repair(); what `f` throws; std::system_error (resource_deadlock_would_occur)
  /// within such a call; as mutex::lock(). A process that writes over the lock meanwhile harms those who come next, and not
  /// this call. Cost: free: no system call.
  template <class F>
  decltype(auto) with(F&& f) const {
    all().lock.lock();
    const struct unlocks {
      mutex& lock;
      ~unlocks() { detail::mutex_access::end_scope(lock); }
    } at_end{all().lock};
    return std::forward<F>(f)(all().object);
  }
  /// Runs `f(object)` under the lock, also where its owner died and the object may be half changed: `f` makes it whole.
  /// The lock is good again afterwards, unless `f` throws.
  /// Blocks: until the lock is free. Errors: what `f` throws; as mutex::lock_and_repair().
  template <class F>
  void lock_and_repair(F&& f) const {
    all().lock.lock_and_repair([&] { std::forward<F>(f)(all().object); });
  }

 private:
  friend struct detail::memory_access<shared>;
  explicit shared(detail::segment s) noexcept : segment_(std::move(s)) {}
  static constexpr detail::segment_shape shape(std::size_t) noexcept {
    const detail::segment_shape object = detail::shape_of_elements<T>(detail::segment_kind::object, 1);
    return {object.kind, static_cast<std::uint32_t>(sizeof(contents)), 1, true};
  }

  struct contents {
    T object;
    mutex lock = {};
  };
  // SAFETY: `contents` was made there by the process that made the segment, and is of this type: its label says so.
  contents& all() const noexcept { return *static_cast<contents*>(segment_.address()); }

  detail::segment segment_;
};

/// An array in shared memory, of a size that never changes. Copies are handles of the same array, in other processes
/// too. Elements are zero, or T{} where that is something else. A moved-from handle is of no elements.
/// shared_array<const T> only reads: see read_only().
/// Threads: any, at once; what they do to the elements is theirs to order.
template <class T>
class shared_array {
 public:
  /// Makes `size` elements. With a name: joins the array of that name if there is one, and leaves its elements as they
  /// are.
  /// Blocks: with a name, while another process is making it. Errors: resource_exhausted: the machine, or a limit of this
  /// process, cannot give so much, now or ever; a constructor's own. With a name: std::invalid_argument if the name
  /// cannot be one, or the file of that name is none of tandem's, or of another size or kind, or its locks are of another
  /// program.
  /// Cost: some ten system calls, and 0.2 ms for each MiB, since all of it is reserved; 0.6 ms more at the first write.
  explicit shared_array(std::size_t size, memory_options options = {}) requires(!std::is_const_v<T>)
      : segment_(shape(size), options) {
    if (!segment_.is_joined()) {
      if constexpr (!std::is_trivially_default_constructible_v<T>) {
        for (std::size_t i = 0; i < size; ++i) new (first() + i) T{};
      }
      segment_.publish();
    }
  }

  /// The elements.
  std::span<T> span() const noexcept { return {first(), segment_.count()}; }
  /// Their number.
  std::size_t size() const noexcept { return segment_.count(); }
  /// The same array for readers: with that handle no process can write into it, whatever it tries. Handles that write
  /// and are in use go on; but from now on none can be given to another process.
  /// Errors: std::logic_error while a handle that writes is on its way to a process that has not begun yet, and for
  /// memory with a name; resource_exhausted. Cost: one or two system calls.
  shared_array<const T> read_only() const { return shared_array<const T>(segment_.read_only()); }

 private:
  template <class>
  friend class shared_array;
  friend struct detail::memory_access<shared_array>;
  explicit shared_array(detail::segment s) noexcept : segment_(std::move(s)) {}
  static constexpr detail::segment_shape shape(std::size_t size) noexcept {
    return detail::shape_of_elements<T>(detail::segment_kind::array, size);
  }
  T* first() const noexcept { return static_cast<T*>(segment_.address()); }

  detail::segment segment_;
};

/// Bytes in shared memory. Copies are handles of the same memory, in other processes too. A moved-from handle is of none.
/// Threads: any, at once; what they do to the bytes is theirs to order.
class shared_memory {
 public:
  /// Makes that many, all zero; with a name, as shared_array.
  /// Blocks: with a name, while another process is making it. Errors: as shared_array. Cost: as shared_array.
  explicit shared_memory(std::size_t bytes, memory_options options = {}) : segment_(shape(bytes), options) {
    segment_.publish();
  }

  /// All of it, as it is mapped in this process, at the begin of a page.
  std::span<std::byte> bytes() const noexcept {
    return {static_cast<std::byte*>(segment_.address()), segment_.count()};
  }
  /// A descriptor that maps the same memory, from offset 0 on; it may be passed to a program that knows no tandem. The
  /// file is a little larger than the memory. Of a moved-from handle: none.
  /// Errors: resource_exhausted. Cost: one system call.
  file_descriptor descriptor() const { return segment_.descriptor(); }

 private:
  friend struct detail::memory_access<shared_memory>;
  explicit shared_memory(detail::segment s) noexcept : segment_(std::move(s)) {}
  static constexpr detail::segment_shape shape(std::size_t bytes) noexcept {
    return {detail::segment_kind::bytes, 1, bytes};
  }

  detail::segment segment_;
};

}  // namespace tandem
