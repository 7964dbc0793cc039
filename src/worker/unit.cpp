#include <tandem/detail/unit.hpp>

#include <mutex>
#include <stdexcept>

#include "worker/current_unit.hpp"
#include "worker/fork_watch.hpp"
#include "worker/protocol.hpp"
#include "worker/unit_name.hpp"

namespace tandem {

namespace {

struct roll {
  std::mutex mutex;
  detail::unit* first = nullptr;
  unsigned epoch = 0;
};

// In a copy of the process the list and its mutex are the original's: a fresh one is begun.
roll& the_roll() {
  static std::atomic<roll*> current{new roll};
  roll* seen = current.load(std::memory_order_acquire);
  while (seen->epoch != worker::fork_epoch()) {
    auto* fresh = new roll;
    fresh->epoch = worker::fork_epoch();
    if (current.compare_exchange_strong(seen, fresh)) return *fresh;
    delete fresh;
  }
  return *seen;
}

}  // namespace

void worker::require_name(const std::string& name) {
  if (name.size() > most_name_bytes || name.find('\0') != std::string::npos) {
    throw std::invalid_argument("tandem: a name may have 255 bytes, and no zero byte among them");
  }
}

std::string worker::name_or_number(const std::string& given, const char* kind, std::atomic<unsigned>& numbers) {
  if (!given.empty()) return given;
  std::string name = kind;
  name += std::to_string(numbers.fetch_add(1, std::memory_order_relaxed) + 1);
  return name;
}

namespace detail {

void unit::enlist() noexcept {
  roll& r = the_roll();
  const std::lock_guard lock(r.mutex);
  next_ = r.first;
  previous_ = nullptr;
  if (next_ != nullptr) next_->previous_ = this;
  r.first = this;
}

void unit::strike() noexcept {
  roll& r = the_roll();
  const std::lock_guard lock(r.mutex);
  if (previous_ != nullptr) previous_->next_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  if (r.first == this) r.first = next_;
  previous_ = next_ = nullptr;
}

}  // namespace detail

std::vector<worker_info> active_workers() {
  std::vector<worker_info> found;
  roll& r = the_roll();
  const std::lock_guard lock(r.mutex);
  for (const detail::unit* u = r.first; u != nullptr; u = u->next_) {
    if (u->active()) found.push_back(u->describe());
  }
  return found;
}

detail::thread_core*& worker::current_unit() noexcept {
  thread_local detail::thread_core* current = nullptr;
  return current;
}

}  // namespace tandem
