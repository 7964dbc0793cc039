#include <tandem/file_descriptor.hpp>

#include "os/kernel.hpp"

namespace tandem {

file_descriptor::file_descriptor(const file_descriptor& other)
    : fd_(other.fd_ < 0 ? -1 : static_cast<int>(os::check(os::duplicate(other.fd_), "fcntl(F_DUPFD_CLOEXEC)"))) {}

file_descriptor& file_descriptor::operator=(const file_descriptor& other) {
  if (this != &other) *this = file_descriptor(other);
  return *this;
}

file_descriptor& file_descriptor::operator=(file_descriptor&& other) noexcept {
  if (this != &other) {
    os::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

file_descriptor::~file_descriptor() { os::close(fd_); }

}  // namespace tandem
