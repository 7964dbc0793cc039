#pragma once
// One object in memory that several processes map, each at an address of its own.
#include <new>
#include <utility>

#include <tandem/file_descriptor.hpp>

#include "os/kernel.hpp"

namespace tandem::test {

template <class T>
class mapped {
 public:
  /// A new one, made of the arguments.
  template <class... A>
  explicit mapped(std::in_place_t, A&&... arguments)
      : file_(static_cast<int>(os::check(os::anonymous_file("test", sizeof(T)), "memfd_create"))),
        at_(map(file_.get())) {
    new (at_) T{std::forward<A>(arguments)...};
  }
  /// The same one, elsewhere.
  explicit mapped(const file_descriptor& file) : at_(map(file.get())) {}
  mapped(const mapped&) = delete;
  mapped& operator=(const mapped&) = delete;
  ~mapped() { os::unmap(at_, sizeof(T)); }

  T* operator->() const { return static_cast<T*>(at_); }
  T& operator*() const { return *static_cast<T*>(at_); }
  const file_descriptor& file() const { return file_; }

 private:
  static void* map(int fd) {
    void* at = os::map(fd, 0, sizeof(T));
    if (at == nullptr) os::throw_failed("mmap", errno);
    return at;
  }

  file_descriptor file_;
  void* at_;
};

}  // namespace tandem::test
