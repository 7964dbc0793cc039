#include <tandem/wait.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <iterator>
#include <stdexcept>

#include "os/kernel.hpp"

namespace tandem::detail {

namespace {

/// Told by the handles that have no descriptor; made when the first one needs it.
class watched_handles {
 public:
  explicit watched_handles(std::span<const wait_entry> entries) : entries_(entries) {}
  watched_handles(const watched_handles&) = delete;
  watched_handles& operator=(const watched_handles&) = delete;
  ~watched_handles() {
    for (std::size_t i = 0; i < watched_; ++i) {
      if (entries_[i].watch != nullptr) entries_[i].unwatch(entries_[i].handle, event_.get());
    }
  }

  void watch() {
    event_ = file_descriptor(static_cast<int>(os::check(os::make_event(), "eventfd")));
    for (; watched_ < entries_.size(); ++watched_) {
      if (entries_[watched_].watch != nullptr) entries_[watched_].watch(entries_[watched_].handle, event_.get());
    }
  }
  int event() const noexcept { return event_.get(); }
  void drain() const noexcept {
    std::array<std::byte, 8> count;
    os::read_some(event_.get(), count);
  }

 private:
  std::span<const wait_entry> entries_;
  file_descriptor event_;
  std::size_t watched_ = 0;
};

/// One look at all of them.
class round {
 public:
  explicit round(std::span<const wait_entry> entries) : entries_(entries) {
    states_.reserve(entries.size());
    set_.reserve(entries.size() + 1);
  }
  void look() {
    states_.clear();
    set_.clear();
    any_ready_ = unwatched_ = false;
    due_ = os::never;
    for (const wait_entry& e : entries_) {
      const wait_state s = e.look(e.handle);
      if (s.descriptor < 0 && !s.ready && e.watch == nullptr)
        throw std::invalid_argument("tandem: wait_any was given a descriptor with a number below zero");
      states_.push_back(s);
      set_.push_back({s.ready ? -1 : s.descriptor});
      any_ready_ = any_ready_ || s.ready;
      due_ = std::min(due_, s.due);
      unwatched_ = unwatched_ || (!s.ready && s.descriptor < 0);
    }
  }
  bool any_ready() const noexcept { return any_ready_; }
  bool needs_event() const noexcept { return unwatched_; }
  /// False at the deadline.
  bool wait(int event, clock::time_point deadline) {
    if (event >= 0) set_.push_back({event});
    const clock::time_point until = any_ready_ ? os::now : std::min(deadline, due_);
    int count = os::wait_ready(set_, until);
    if (count == -EINVAL) count = wait_once_for_each(until);
    os::check(count, "ppoll");
    is_due_ = due_ != os::never && clock::now() >= due_;
    return count > 0 || any_ready_ || until < deadline;
  }
  /// The first from `start` on that is ready.
  std::optional<std::size_t> ready_from(std::size_t start) const {
    std::size_t i = entries_.empty() ? 0 : start % entries_.size();
    for (std::size_t k = 0; k < entries_.size(); ++k, i = i + 1 == entries_.size() ? 0 : i + 1) {
      if (set_[i].invalid) {
        throw std::invalid_argument("tandem: wait_any was given " + std::to_string(set_[i].fd) +
                                    ", which is no open descriptor");
      }
      if (states_[i].ready) return i;
      const bool asked = set_[i].readable || (is_due_ && states_[i].due != os::never);
      if (asked && (!states_[i].asks || entries_[i].ready(entries_[i].handle))) return i;
    }
    return std::nullopt;
  }

 private:
  // The kernel takes no more at once than this process may have descriptors: as many as there are, each once, are fewer.
  int wait_once_for_each(clock::time_point deadline) {
    const auto by_number = [](const os::ready& a, const os::ready& b) { return a.fd < b.fd; };
    std::vector<os::ready> each;
    std::copy_if(set_.begin(), set_.end(), std::back_inserter(each), [](const os::ready& r) { return r.fd >= 0; });
    std::sort(each.begin(), each.end(), by_number);
    each.erase(
        std::unique(each.begin(), each.end(), [](const os::ready& a, const os::ready& b) { return a.fd == b.fd; }),
        each.end());
    const int count = os::wait_ready(each, deadline);
    if (count == -EINVAL) {
      os::throw_failed("ppoll", EINVAL,
                       "wait_any can wait for as many descriptors as RLIMIT_NOFILE (ulimit -n) allows, and was given " +
                           std::to_string(each.size()));
    }
    for (os::ready& r : set_) {
      if (r.fd >= 0) r = *std::lower_bound(each.begin(), each.end(), r, by_number);
    }
    return count;
  }

  std::span<const wait_entry> entries_;
  std::vector<wait_state> states_;
  std::vector<os::ready> set_;
  bool any_ready_ = false;
  bool unwatched_ = false;
  clock::time_point due_ = os::never;  // the first of theirs
  bool is_due_ = false;
};

// Each call for the same handles begins its search one further, so that one that is always ready does not hide the
// others. The counts are kept by the first handle: calls for other handles in between do not get in step.
std::size_t next_start(std::span<const wait_entry> entries) {
  static thread_local std::array<std::size_t, 64> counts{};
  if (entries.empty()) return 0;
  return counts[std::hash<const void*>{}(entries[0].handle) / alignof(std::max_align_t) % counts.size()]++;
}

}  // namespace

std::optional<std::size_t> wait_entries(std::span<const wait_entry> entries, clock::time_point deadline) {
  if (entries.empty() && deadline == os::never)
    throw std::invalid_argument("tandem: wait_any without a handle would wait for ever");
  const std::size_t start = next_start(entries);
  watched_handles watched(entries);
  round r(entries);
  for (;;) {
    r.look();
    if (r.needs_event() && !r.any_ready() && watched.event() < 0) {
      watched.watch();
      r.look();  // what became ready before it was watched
    }
    const bool in_time = r.wait(watched.event(), deadline);
    if (const auto found = r.ready_from(start)) return found;
    if (!in_time) return std::nullopt;
    if (watched.event() >= 0) watched.drain();
  }
}

}  // namespace tandem::detail
