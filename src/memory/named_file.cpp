#include <cerrno>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include <tandem/error.hpp>

#include "memory/segment.hpp"
#include "os/kernel.hpp"
#include "os/left_names.hpp"

namespace tandem::detail {

namespace {

constexpr const char* name_prefix = "tandem.";
constexpr int most_tries = 1000;  // each time another process has removed or made the name meanwhile

std::string checked(const std::string& name) {
  constexpr std::size_t longest = 200;
  if (name.size() > longest || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    throw std::invalid_argument("tandem: \"" + name +
                                "\" cannot be the name of shared memory: at most 200 characters, and no slash");
  return name_prefix + name;
}

// A peer that writes over the label keeps its memory: what is no file of ours is left alone. A file gets its size by the
// label, in one step (named_file::size_by_label()), so that there is none of ours without.
bool is_ours(int fd) {
  const long size = os::size_of(fd);
  if (size < static_cast<long>(sizeof(segment_label))) return false;
  std::uint64_t magic = 0;
  const std::size_t label_at = static_cast<std::size_t>(size) - sizeof(segment_label);
  return os::read_at(fd, std::as_writable_bytes(std::span(&magic, 1)), label_at) == 0 && magic == label_magic;
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
      if (!is_ours(opened))
        throw std::invalid_argument("tandem: \"" + name + "\" cannot be the name of shared memory: /dev/shm/" +
                                    file_name_ +
                                    " is a file that tandem did not make; remove it, or take another name");
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

int named_file::size_by_label(int fd, std::size_t bytes) {
  const std::uint64_t magic[sizeof(segment_label) / sizeof(std::uint64_t)] = {label_magic};
  static_assert(offsetof(segment_label, magic) == 0 && sizeof magic == sizeof(segment_label));
  return os::write_at(fd, std::as_bytes(std::span(magic)), bytes - sizeof magic);
}

// The kernel replaces the lock in one step: nobody gets it in between (Linux 4.2).
void named_file::publish(int fd) const { os::check(os::lock_shared(fd), "flock"); }

void named_file::leave(int fd) const noexcept {
  if (os::own_pid() == opened_by_ && os::lock_alone(fd) && os::is_named(fd, file_name_.c_str()))
    os::remove_name(file_name_.c_str());
}

void remove_names_of_the_killed() {
  for (const std::string& name : os::names_that_begin(name_prefix)) {
    const file_descriptor file(os::open_left(name.c_str()));
    // Who has just opened it finds that it has lost its name, and makes another.
    if (file && os::lock_alone(file.get()) && is_ours(file.get()) && os::is_named(file.get(), name.c_str()))
      os::remove_name(name.c_str());
  }
}

}  // namespace tandem::detail
