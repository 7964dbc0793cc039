#include <cerrno>
#include <stdexcept>

#include <tandem/error.hpp>

#include "memory/segment.hpp"
#include "os/kernel.hpp"

namespace tandem::detail {

namespace {

constexpr int most_tries = 1000;  // each time another process has removed or made the name meanwhile

std::string checked(const std::string& name) {
  constexpr std::size_t longest = 200;
  if (name.size() > longest || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    throw std::invalid_argument("tandem: \"" + name +
                                "\" cannot be the name of shared memory: at most 200 characters, and no slash");
  return "tandem." + name;
}

}  // namespace

named_file::named_file(const std::string& name, const segment_shape& shape)
    : file_name_(checked(name)), opened_by_(os::own_pid()) {
  for (int i = 0; i < most_tries; ++i) {
    const int opened = os::open_named(file_name_.c_str());
    if (opened < 0)
      os::throw_failed("open", -opened, opened == -EACCES ? "/dev/shm/" + file_name_ + " is another user's" : "");
    file_ = file_descriptor(opened);
    const bool alone = os::lock_alone(opened);
    if (!alone) os::check(os::lock_shared(opened), "flock");
    if (!os::is_named(opened, file_name_.c_str())) continue;
    const bool empty = os::size_of(opened) == 0;
    if (alone && empty) return;  // ours to make; the others wait for our lock
    if (alone) {
      os::remove_name(file_name_.c_str());
    } else if (!empty) {  // else its maker failed
      try {
        check_file(opened, shape);
      } catch (const decode_error&) {
        throw std::invalid_argument("tandem: the shared memory with the name \"" + name +
                                    "\" is of another size or kind than " + std::to_string(shape.count) +
                                    " elements of " + std::to_string(shape.element_bytes) + " bytes" +
                                    (shape.has_locks ? ", or its locks are those of another program" : ""));
      }
      joined_ = true;
      return;
    }
  }
  os::throw_failed("flock", EAGAIN, "other programs make and remove the name \"" + name + "\" all the time");
}

// The kernel replaces the lock in one step: nobody gets it in between (Linux 4.2).
void named_file::publish(int fd) const { os::check(os::lock_shared(fd), "flock"); }

void named_file::leave(int fd) const noexcept {
  if (os::own_pid() == opened_by_ && os::lock_alone(fd) && os::is_named(fd, file_name_.c_str()))
    os::remove_name(file_name_.c_str());
}

}  // namespace tandem::detail
