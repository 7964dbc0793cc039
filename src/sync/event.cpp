#include <tandem/event.hpp>

#include "sync/event_algorithm.hpp"

namespace tandem::detail {

using env = sync::environment;

void set_event(lock_word& word) noexcept { sync::set_event<env>(word); }

bool await_event(lock_word& word, clock::time_point deadline) {
  env::me();
  return sync::await_event<env>(word, deadline);
}

void reset_event(lock_word& word) noexcept { word.fetch_and(~sync::event_set, std::memory_order_acq_rel); }

}  // namespace tandem::detail
