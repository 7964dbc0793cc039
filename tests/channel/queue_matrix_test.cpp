// A pusher or a popper is killed at each named point of a queue; the others go on, and each message comes once, or is
// counted.
#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/fixture.hpp"
#include "sync/death_point.hpp"
#include "sync/kills.hpp"
#include "sync/mapped.hpp"

#if !defined(TANDEM_FAULTS)
#error "these tests need the named points: configure with -DTANDEM_FAULTS=ON"
#endif

namespace {

using tandem::file_descriptor;
using tandem::queue;
using tandem::test::mapped;

constexpr std::size_t messages = 4'000;

// Who pushed what, and how often it came.
struct tally {
  std::atomic<int> victim_ready{0};
  std::atomic<int> survivors_ready{0};
  std::atomic<int> victim_dead{0};
  std::atomic<int> pushed[2][messages] = {};  // 1: begun, 2: push() has returned
  std::atomic<int> popped[2][messages] = {};
};

struct numbers {
  static queue<int> make() { return queue<int>(3); }
  static int value(int number) { return number; }
  static int number(int value) { return value; }
};
// Some are in their slots, some in the arena, and these are around its end often.
struct texts {
  static queue<std::string> make() { return queue<std::string>(3, {.bytes = 8192}); }
  static std::string value(int number) {
    std::string text = std::to_string(number);
    if (number % 2 == 0) text.resize(static_cast<std::size_t>(number) * 37 % 3000 + 10, ' ');
    return text;
  }
  static int number(const std::string& value) { return std::stoi(value); }
};

template <class Kind, class Q>
bool push_one(const Q& q, tally& t, int who, int& next) {
  if (next == static_cast<int>(messages)) return false;
  const int number = next;
  t.pushed[who][number] = 1;
  if (!q.push_for(Kind::value(who * static_cast<int>(messages) + number), std::chrono::milliseconds(50))) {
    t.pushed[who][number] = 0;
    return true;
  }
  t.pushed[who][number] = 2;
  ++next;
  return true;
}

template <class Kind, class Q>
bool pop_one(const Q& q, tally& t) {
  auto got = decltype(q.try_pop())();
  try {
    got = q.pop_for(std::chrono::milliseconds(50));
  } catch (const tandem::closed&) {  // the victim was the last pusher so far
    std::this_thread::yield();
  }
  if (!got) return false;
  const int number = Kind::number(*got);
  ++t.popped[number / static_cast<int>(messages)][number % static_cast<int>(messages)];
  return true;
}

enum part { pusher, popper };

template <class Kind, class Q>
void play(const Q& q, tally& t, int what, int who, int& next) {
  if (what == popper) {
    pop_one<Kind>(q, t);
  } else if (!push_one<Kind>(q, t, who, next)) {
    std::this_thread::yield();
  }
}

template <class Kind, class Q>
void be_the_victim(const file_descriptor& file, const Q& q, int what, const std::string& point, int nth) {
  const mapped<tally> t(file);
  t->victim_ready = 1;
  while (t->survivors_ready < 2) std::this_thread::yield();
  tandem::sync::arm_death_point(point.c_str(), nth, tandem::test::die);
  for (int next = 0;;) play<Kind>(q, *t, what, 0, next);
}

// Until the victim is dead, and a little longer.
template <class Kind, class Q>
void survive(const file_descriptor& file, const Q& q, int what) {
  const mapped<tally> t(file);
  ++t->survivors_ready;
  int next = 0;
  while (t->victim_dead == 0) {
    if (what == pusher && next > static_cast<int>(messages) - 20) break;
    play<Kind>(q, *t, what, 1, next);
  }
  for (int i = 0; i < 10; ++i) play<Kind>(q, *t, what, 1, next);
}

struct cell {
  const char* point;
  part victim;
};

constexpr cell cells[] = {
    {"push.joined", pusher},    {"push.claimed", pusher}, {"push.moved_on", pusher}, {"push.written", pusher},
    {"push.committed", pusher}, {"push.woke", pusher},    {"wake.granted", pusher},  {"wait.registered", pusher},
    {"wait.woken", pusher},     {"place.locked", pusher}, {"place.written", pusher}, {"lock.taken", pusher},
    {"unlock.given", pusher},   {"pop.claimed", popper},  {"pop.moved_on", popper},  {"pop.copied", popper},
    {"pop.released", popper},   {"pop.woke", popper},     {"wake.granted", popper},  {"wait.registered", popper},
    {"wait.woken", popper},
};

class queue_matrix : public tandem::test::checked, public testing::WithParamInterface<cell> {};

int rounds() { return tandem::test::rounds_or(2); }

// Each message came at most once; what push() had put there and did not come is counted.
void check(const tally& t, const tandem::queue_stats& s, part victim) {
  std::size_t missing = 0, begun_and_gone = 0;
  for (int who : {0, 1}) {
    for (std::size_t i = 0; i < messages; ++i) {
      ASSERT_LE(t.popped[who][i].load(), 1) << "a message came twice";
      if (t.pushed[who][i] == 2 && t.popped[who][i] == 0) ++missing;
      if (t.pushed[who][i] == 1 && t.popped[who][i] == 0) ++begun_and_gone;
    }
  }
  // A popper that is killed after it has the message, and before it says so here, has got it.
  EXPECT_LE(missing, victim == popper ? 1U : 0U);
  EXPECT_LE(s.torn, victim == pusher ? 1U : 0U);
  EXPECT_LE(s.lost, victim == popper ? missing : 0U);
  EXPECT_LE(s.torn, begun_and_gone);
}

template <class Kind>
bool run_round(const cell& c, int nth) {
  const mapped<tally> t(std::in_place);
  const auto q = Kind::make();
  using q_type = std::remove_const_t<decltype(q)>;
  tandem::process victim(be_the_victim<Kind, q_type>, t.file(), q, static_cast<int>(c.victim), std::string(c.point),
                         nth);
  while (t->victim_ready == 0) std::this_thread::yield();
  std::vector<tandem::process<void>> others;
  for (const part p : {pusher, popper}) others.emplace_back(survive<Kind, q_type>, t.file(), q, static_cast<int>(p));
  // A point that needs a meeting of chance may not be reached; then it is a death at any place.
  const bool reached = victim.join_for(std::chrono::milliseconds(200));
  if (!reached) {
    victim.kill();
    victim.join();
  }
  t->victim_dead = 1;
  for (auto& other : others) EXPECT_NO_THROW(other.get());
  while (pop_one<Kind>(q, *t)) {
  }
  check(*t, q.stats(), c.victim);
  // All is as if the victim had never been.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(q.try_push(Kind::value(i)));
  EXPECT_FALSE(q.try_push(Kind::value(3)));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(q.try_pop(), Kind::value(i));
  EXPECT_EQ(q.try_pop(), std::nullopt);
  return reached;
}

TEST_P(queue_matrix, the_others_go_on) {
  int reached = 0;
  for (int round = 0; round < rounds(); ++round) {
    reached += run_round<numbers>(GetParam(), 1 + round % 3) ? 1 : 0;
    reached += run_round<texts>(GetParam(), 1 + round % 3) ? 1 : 0;
  }
  tandem::test::tell_reached(reached, 2 * rounds(), GetParam().point);
}

INSTANTIATE_TEST_SUITE_P(kills, queue_matrix, testing::ValuesIn(cells), [](const auto& parameter) {
  std::string name =
      std::string(parameter.param.victim == pusher ? "pusher" : "popper") + "_at_" + parameter.param.point;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

}  // namespace
