// Two processes push and two pop, one of the four is killed and replaced every 50 ms. What did not come and is not counted as
// lost is taken to have been popped and not noted before the kill; that is not observed. `--seconds N`.
#include <fmt/core.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <tandem/tandem.hpp>

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::queue;

// A message names its pusher's life and its number in it. Each life has a table of what came, in shared memory, that its
// poppers write: as many entries as it may push.
constexpr std::uint32_t lives_at_once = 64;
constexpr std::uint32_t messages_of_a_life = 1U << 18;

struct note {
  std::atomic<std::uint32_t> begun{0};   // how many pushes were begun
  std::atomic<std::uint32_t> pushed{0};  // how many of them have returned
  std::atomic<std::uint32_t> twice{0};
  std::atomic<std::uint32_t> in_hand[2] = {};  // of the poppers: what it was about to note, plus one
};

struct books {
  tandem::shared_array<note> notes{lives_at_once};
  tandem::shared_array<std::uint8_t> came{std::size_t{lives_at_once} * messages_of_a_life};
};

struct message {
  std::uint32_t life = 0;
  std::uint32_t number = 0;
  std::string filling = {};
};

std::size_t filling_of(std::uint32_t number) { return number % 7 == 0 ? number % 4000 : number % 40; }

void push_all(const queue<message>& q, const books& b, std::uint32_t life) {
  note& n = b.notes.span()[life % lives_at_once];
  for (std::uint32_t i = 0; i < messages_of_a_life; ++i) {
    n.begun.store(i + 1);
    q.push({life, i, std::string(filling_of(i), static_cast<char>('a' + i % 26))});
    n.pushed.store(i + 1);
  }
  for (;;) std::this_thread::sleep_for(1h);  // waits to be killed
}

void pop_all(const queue<message>& q, const books& b) {
  for (const message& m : q) {
    if (m.filling != std::string(filling_of(m.number), static_cast<char>('a' + m.number % 26))) std::abort();
    const std::size_t slot = m.life % lives_at_once;
    std::atomic_ref<std::uint8_t> came(b.came.span()[slot * messages_of_a_life + m.number % messages_of_a_life]);
    if (came.fetch_add(1) != 0) ++b.notes.span()[slot].twice;
  }
}

struct sums {
  std::uint64_t begun = 0, pushed = 0, came = 0, twice = 0, missing = 0, kills = 0;
};

// What came of a life that is over; its place is free for another.
void settle(const books& b, std::uint32_t life, sums& all) {
  const std::size_t slot = life % lives_at_once;
  note& n = b.notes.span()[slot];
  std::uint8_t* const came = b.came.span().data() + slot * messages_of_a_life;
  const std::uint32_t begun = n.begun, pushed = n.pushed;
  for (std::uint32_t i = 0; i < begun; ++i) {
    all.came += came[i];
    all.missing += i < pushed && came[i] == 0 ? 1 : 0;
  }
  all.begun += begun;
  all.pushed += pushed;
  all.twice += n.twice;
  std::memset(came, 0, messages_of_a_life);
  n.begun = n.pushed = n.twice = 0;
}

std::size_t memory_kib() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::size_t value = 0;
  std::string unit;
  std::size_t shared = 0;
  while (file >> name >> value && std::getline(file, unit)) {
    if (name == "Shmem:") shared = value;
  }
  return shared;
}

// The four, one of whom is killed and replaced now and then.
class cast {
 public:
  cast() {
    for (const std::size_t i : {0U, 1U}) {
      new_pusher(i);
      poppers_[i] = tandem::process(pop_all, q_, b_);
    }
  }

  void kill_one() {
    const std::size_t who = random_() % 4;
    end(who < 2 ? pushers_[who] : poppers_[who - 2]);
    if (who < 2) {
      over_.push_back(lives_[who]);
      new_pusher(who);
    } else {
      poppers_[who - 2] = tandem::process(pop_all, q_, b_);
    }
    // A life is settled when its messages cannot be in the queue any more.
    while (over_.size() > 16) {
      settle(b_, over_.front(), sums_);
      over_.erase(over_.begin());
    }
  }

  sums finish() {
    for (auto& p : pushers_) end(p);
    q_.close();
    for (auto& p : poppers_) p.join();
    for (const std::uint32_t life : over_) settle(b_, life, sums_);
    for (const std::uint32_t life : lives_) settle(b_, life, sums_);
    return sums_;
  }

  std::uint64_t kills() const { return sums_.kills; }
  tandem::queue_stats stats() const { return q_.stats(); }

 private:
  void end(tandem::process<void>& victim) {
    victim.kill();
    victim.join();
    ++sums_.kills;
  }
  void new_pusher(std::size_t i) {
    lives_[i] = next_life_++;
    pushers_[i] = tandem::process(push_all, q_, b_, lives_[i]);
  }

  books b_;
  queue<message> q_{64, {.bytes = 256_KiB}};
  std::array<tandem::process<void>, 2> pushers_, poppers_;
  std::array<std::uint32_t, 2> lives_{};
  std::uint32_t next_life_ = 0;
  std::vector<std::uint32_t> over_;
  sums sums_;
  std::mt19937 random_{1};
};

bool report(const sums& s, const tandem::queue_stats& stats) {
  // A popper that was killed between pop() and its note had the message: it was got, and nobody knows.
  const std::uint64_t not_noted = s.missing > stats.lost ? s.missing - stats.lost : 0;
  fmt::print("{} kills; {} pushes begun, {} returned; {} messages came, {} twice; {} that were pushed did not come\n",
             s.kills, s.begun, s.pushed, s.came, s.twice, s.missing);
  fmt::print("the queue counts {} pushed, {} popped, {} torn, {} lost; {} were popped and not noted before a kill\n",
             stats.pushed, stats.popped, stats.torn, stats.lost, not_noted);
  const bool good = s.twice == 0 && stats.pushed == stats.popped + stats.lost && s.missing <= s.kills &&
                    stats.popped >= s.came && stats.popped <= s.came + s.kills && stats.torn <= s.kills;
  fmt::print("{}\n", good ? "none came twice, and no more are missing than there were kills" : "WRONG");
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  int seconds = 10;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atoi(argv[i + 1]);
  }
  cast all;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::size_t first_kib = 0;
  while (std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(50ms);
    all.kill_one();
    if (all.kills() == 40) first_kib = memory_kib();
  }
  const std::size_t last_kib = memory_kib();
  const sums s = all.finish();
  fmt::print("shared memory of the machine: {} KiB after 40 kills, {} KiB at the end\n", first_kib, last_kib);
  return report(s, all.stats()) ? 0 : 1;
}
