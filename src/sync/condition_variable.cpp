#include <tandem/condition_variable.hpp>

#include "sync/condition_algorithm.hpp"

namespace tandem::detail {

using env = sync::environment;

notification_ticket take_notification_ticket(lock_word& word) {
  env::me();
  const std::uint32_t epoch = env::epoch();
  const std::uint32_t ticket = sync::take_ticket<env>(word);
  env::step("wait.ticket");
  return {ticket, epoch};
}

bool await_notification(lock_word& word, notification_ticket ticket, clock::time_point deadline) noexcept {
  env::step("wait.unlocked");
  return sync::await_notification<env>(word, ticket.number, ticket.epoch, deadline);
}

void notify_one_waiter(lock_word& word) noexcept { sync::notify_one_waiter<env>(word); }
void notify_all_waiters(lock_word& word) noexcept { sync::notify_all_waiters<env>(word); }

}  // namespace tandem::detail
