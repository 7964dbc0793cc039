#include <tandem/shared_mutex.hpp>

#include "sync/lock_ends.hpp"
#include "sync/shared_lock_algorithm.hpp"

namespace tandem::detail {

namespace {

using env = sync::environment;
using sync::claim_step;
using sync::lock_end;
using legacy = sync::leaves_it_died_if_inside<env>;

// An idle claim of the caller on the lock; given back on every way out, unless it holds a share by then.
class reader_claim {
 public:
  explicit reader_claim(reader_state& r) : number_(sync::number_of(r.number)), index_(sync::take_claim(number_)) {}
  reader_claim(const reader_claim&) = delete;
  reader_claim& operator=(const reader_claim&) = delete;
  ~reader_claim() {
    if (!kept_) sync::free_claim(index_);
  }
  std::uint32_t index() const noexcept { return index_; }
  void keep() noexcept {
    kept_ = true;
    sync::remember_claim(number_, index_);
  }

 private:
  std::uint64_t number_;
  std::uint32_t index_;
  bool kept_ = false;
};

}  // namespace

bool lock_alone(lock_word& word, reader_state& r, clock::time_point deadline) {
  if (!take_free(word) &&
      !sync::taken_or_thrown(sync::lock_word_until<env>(word, deadline, sync::lock_purpose::use, legacy{r.readers}))) {
    return false;
  }
  if (sync::enter_alone<env>(r.readers, sync::number_of(r.number), deadline)) return true;
  unlock_for_all(word);
  return false;
}

bool try_lock_alone(lock_word& word, reader_state& r) {
  if (!take_free(word)) {
    const lock_end end = sync::lock_word_once<env>(word, legacy{r.readers});
    if (end == lock_end::own || !sync::taken_or_thrown(end)) return false;
  }
  if (sync::enter_alone<env>(r.readers, sync::number_of(r.number), os::now)) return true;
  unlock_for_all(word);
  return false;
}

void unlock_alone(lock_word& word, reader_state& r) {
  if (!is_mine(word)) throw_not_owner();
  sync::leave_alone<env>(r.readers);
  unlock_for_all(word);
}

void enter_for_repair(lock_word&, reader_state& r) {
  sync::enter_alone<env>(r.readers, sync::number_of(r.number), os::never);
}

void leave_after_repair(lock_word&, reader_state& r) noexcept { sync::leave_alone<env>(r.readers); }

bool lock_shared(lock_word& word, reader_state& r, clock::time_point deadline) {
  reader_claim claim(r);
  const lock_end end = sync::lock_word_shared<env>(word, r.readers, claim.index(), deadline);
  if (end != lock_end::taken) return sync::taken_or_thrown(end);
  claim.keep();
  return true;
}

bool try_lock_shared(lock_word& word, reader_state& r) {
  const std::uint32_t seen = word.load(std::memory_order_acquire);
  if ((seen & sync::died_bit) != 0) throw_owner_died();
  if (seen != 0 && !sync::bury_owner<env>(word, seen, legacy{r.readers})) return false;
  return lock_shared(word, r, os::now);
}

void unlock_shared(lock_word&, reader_state& r) {
  const std::uint64_t number = r.number.load(std::memory_order_acquire);
  const std::uint32_t index = sync::own_claim(number, claim_step::held);
  if (number == 0 || index == 0) throw_not_owner();
  const std::uint32_t held = env::claim_at(index).state.load(std::memory_order_relaxed);
  const sync::share_change done = sync::give_share<env>(r.readers, index, held, sync::one_reader_fewer{});
  sync::free_claim_after(index, held);
  if ((done.before & sync::share_waiting) != 0 && (done.before & sync::share_number) == 1)
    sync::wake_for_number<env>(r.readers, sync::all_waiters);
}

}  // namespace tandem::detail
