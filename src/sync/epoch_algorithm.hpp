#pragma once
// A word that moves with each death, by one in its upper bits; the lowest says that somebody may sleep on it, so that
// whoever moves it asks the kernel only where that is so. A dead sleeper leaves the bit, and no more.
#include <atomic>
#include <cstdint>

namespace tandem::sync {

constexpr std::uint32_t epoch_watched = 1;
constexpr std::uint32_t one_death = 2;

/// What it is, without the bit.
template <class Word>
std::uint32_t read_epoch(Word& w) noexcept {
  return w.load(std::memory_order_seq_cst) & ~epoch_watched;
}

/// Before a sleep while the word is `epoch | epoch_watched`. False if it has moved.
template <class Word>
bool watch_epoch(Word& w, std::uint32_t epoch) noexcept {
  const std::uint32_t seen = w.load(std::memory_order_seq_cst);
  if (seen == (epoch | epoch_watched)) return true;  // if it moves now, the kernel sees another word than is expected
  return seen == epoch && (w.fetch_or(epoch_watched, std::memory_order_seq_cst) & ~epoch_watched) == epoch;
}

/// `wake(word)`: all that sleep there.
template <class Word, class Wake>
void move_epoch(Word& w, Wake wake) noexcept {
  std::uint32_t seen = w.load(std::memory_order_relaxed);
  // Pairs with the load of whoever is about to wait: it sees either the new epoch, or the marks made before this.
  while (!w.compare_exchange_strong(seen, (seen & ~epoch_watched) + one_death, std::memory_order_seq_cst)) {
  }
  if ((seen & epoch_watched) != 0) wake(w);
}

}  // namespace tandem::sync
