#include <tandem/error.hpp>

#include "sync/lock_ends.hpp"

namespace tandem {

bool sync::taken_or_thrown(lock_end end) {
  switch (end) {
    case lock_end::taken: ++detail::this_thread.held; return true;
    case lock_end::late: return false;
    case lock_end::died: detail::throw_owner_died();
    case lock_end::own: break;
  }
  throw std::system_error(
      std::make_error_code(std::errc::resource_deadlock_would_occur),
      "tandem: this thread holds the lock already, and would wait for itself; a recursive_mutex can "
      "be locked again");
}

namespace detail {

namespace {

using env = sync::environment;
using sync::lock_end;
using sync::taken_or_thrown;

void require_given(bool given) {
  if (!given) throw_not_owner();
  --this_thread.held;
}

// At the end of a scope that has held it, also where a peer has written over the word meanwhile. A copy of the program that
// leaves the scope of its original holds nothing.
void held_one_fewer() noexcept {
  if (this_thread.held != 0) --this_thread.held;
}

}  // namespace

void throw_owner_died() {
  throw owner_died(
      "tandem: the owner of this lock died while it held it, so what the lock guards may be half changed. It is not "
      "held now, and nobody gets it before lock_and_repair(f) was called with a function that makes all good again");
}

void throw_not_owner() {
  throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                          "tandem: unlock of a lock that this thread does not hold");
}

void lock(lock_word& word) { taken_or_thrown(sync::lock_word_until<env>(word, os::never)); }

bool try_lock(lock_word& word) {
  const lock_end end = sync::lock_word_once<env>(word);
  return end != lock_end::own && taken_or_thrown(end);
}

bool lock_until(lock_word& word, clock::time_point deadline) {
  return taken_or_thrown(sync::lock_word_until<env>(word, deadline));
}

void unlock(lock_word& word) { require_given(sync::unlock_word<env>(word)); }
void unlock_for_all(lock_word& word) { require_given(sync::unlock_word<env>(word, sync::all_waiters)); }

void end_scope(lock_word& word) noexcept {
  if (is_mine(word)) sync::unlock_word<env>(word);
  held_one_fewer();
}

void lock_for_repair(lock_word& word) {
  taken_or_thrown(sync::lock_word_until<env>(word, os::never, sync::lock_purpose::repair));
}

void end_repair(lock_word& word) noexcept {
  if (is_mine(word)) sync::unlock_word<env>(word, sync::all_waiters);
  held_one_fewer();
}

void give_up_repair(lock_word& word) noexcept {
  if (is_mine(word)) sync::spoil_word<env>(word);
  held_one_fewer();
}

}  // namespace detail
}  // namespace tandem
