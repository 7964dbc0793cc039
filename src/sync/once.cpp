#include <tandem/once.hpp>

#include "sync/lock_algorithm.hpp"

namespace tandem::detail {

using env = sync::environment;
using sync::lock_end;

// A lock whose owner is the one who calls. When that one dies the lock is free; "died" stands for done.
static_assert(once_done == sync::died_bit);

bool begin_once(lock_word& word) {
  switch (sync::lock_word_until<env>(word, os::never, sync::lock_purpose::use, sync::leaves_it_free{})) {
    case lock_end::taken: ++this_thread.held; return true;
    case lock_end::own: break;
    default:
      word.load(std::memory_order_acquire);  // pairs with the release of end_once(): it stays as it is from then on
      return false;
  }
  throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                          "tandem: call_once from within the function that it calls");
}

void end_once(lock_word& word) noexcept {
  env::step("once.called");
  const std::uint32_t before = word.exchange(once_done, std::memory_order_release);
  --this_thread.held;
  env::step("once.done");
  if ((before & sync::waiting_bit) != 0) env::wake(word, sync::all_waiters);
}

void abandon_once(lock_word& word) noexcept {
  if (sync::unlock_word<env>(word)) --this_thread.held;
}

}  // namespace tandem::detail
