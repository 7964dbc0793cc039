#pragma once
// One open descriptor, owned.
#include <tandem/detail/export.hpp>

namespace tandem {

/// Owns one descriptor and closes it. A copy duplicates it (close-on-exec); a moved-from or default one owns none.
/// Threads: distinct objects at once; one object as an int.
class TANDEM_EXPORT file_descriptor {
 public:
  file_descriptor() noexcept = default;
  /// Takes over `fd`; a negative number means none.
  explicit file_descriptor(int fd) noexcept : fd_(fd) {}
  /// A duplicate of the other's descriptor, for the same open file.
  /// Errors: resource_exhausted (EMFILE and the like). Cost: one system call.
  file_descriptor(const file_descriptor& other);
  file_descriptor(file_descriptor&& other) noexcept : fd_(other.release()) {}
  /// Closes its own and takes a duplicate of the other's; after an error its own is as before.
  /// Errors: resource_exhausted. Cost: two system calls.
  file_descriptor& operator=(const file_descriptor& other);
  file_descriptor& operator=(file_descriptor&& other) noexcept;
  ~file_descriptor();

  /// The number, or -1 for none. It stays owned.
  int get() const noexcept { return fd_; }
  /// The number, or -1; whoever called closes it.
  int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  /// True if one is owned.
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace tandem
