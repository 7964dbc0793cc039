// Each way to go wrong at each place where it can, in submit() and map(): one defined error, and the pool goes on.
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include <tandem/process_pool.hpp>

#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;

enum class way { throws, exits, exits_now, segv, kill, loops };
constexpr const char* way_names[] = {"throws", "exits", "exits_now", "segv", "kill", "loops"};
enum class place { none, decode_argument, body, encode_result, decode_result, destructor, encode_argument };

void go(way how) {
  switch (how) {
    case way::throws: throw std::length_error("the bomb");
    case way::exits: std::exit(3);
    case way::exits_now: ::_exit(3);
    case way::segv: ::raise(SIGSEGV); break;
    case way::kill: ::raise(SIGKILL); break;
    case way::loops:
      for (volatile int i = 0;; static_cast<void>(i)) {
      }
  }
}

struct bomb {
  place where = place::none;
  way how = way::throws;
  bool armed = false;  // only a worker's copy explodes when it is destroyed
  bomb() = default;
  bomb(place p, way w) : where(p), how(w) {}
  bomb(const bomb&) = default;
  bomb(bomb&& other) noexcept : where(other.where), how(other.how), armed(std::exchange(other.armed, false)) {}
  bomb& operator=(const bomb&) = default;
  ~bomb() {
    if (armed && where == place::destructor) go(how);
  }
};
/// What it becomes in the result.
struct result_bomb {
  place where = place::none;
  way how = way::throws;
};

}  // namespace

template <>
struct tandem::transfer<bomb> {
  static void write(writer& w, const bomb& b) {
    if (b.where == place::encode_argument) go(b.how);
    w(static_cast<int>(b.where));
    w(static_cast<int>(b.how));
  }
  static bomb read(reader& r) {
    int where = 0, how = 0;
    r(where);
    r(how);
    bomb b(static_cast<place>(where), static_cast<way>(how));
    if (this_worker::is_process() && b.where == place::decode_argument) go(b.how);
    b.armed = this_worker::is_process();
    return b;
  }
};
template <>
struct tandem::transfer<result_bomb> {
  static void write(writer& w, const result_bomb& b) {
    if (b.where == place::encode_result) go(b.how);
    w(static_cast<int>(b.where));
    w(static_cast<int>(b.how));
  }
  static result_bomb read(reader& r) {
    int where = 0, how = 0;
    r(where);
    r(how);
    if (static_cast<place>(where) == place::decode_result) throw std::length_error("the bomb");
    return {static_cast<place>(where), static_cast<way>(how)};
  }
};

namespace {

result_bomb handle_bomb(bomb b) {
  b.armed = false;
  if (b.where == place::body) go(b.how);
  b.armed = b.where == place::destructor;
  return {b.where, b.how};
}
int square(int n) { return n * n; }

class process_matrix : public tandem::test::checked, public testing::WithParamInterface<std::tuple<place, way>> {
 protected:
  static tandem::process_pool_options options() { return {.workers = 1, .stop_grace = 1ms, .kill_grace = 1ms}; }
  static tandem::task_options task() {
    tandem::task_options t;
    if (std::get<1>(GetParam()) == way::loops) t.deadline = 300ms;
    return t;
  }
  template <class Get>
  static void expect_error(Get get) {
    switch (std::get<1>(GetParam())) {
      case way::throws: EXPECT_THROW(get(), std::length_error); break;
      case way::exits:
      case way::exits_now: EXPECT_THROW(get(), tandem::worker_exited); break;
      case way::segv:
      case way::kill: EXPECT_THROW(get(), tandem::worker_crashed); break;
      case way::loops: EXPECT_THROW(get(), tandem::timed_out); break;
    }
  }
};

TEST_P(process_matrix, submit) {
  const auto [where, how] = GetParam();
  tandem::process_pool pool(options());
  auto before = pool.submit(square, 2);
  auto bad = pool.submit(task(), handle_bomb, bomb(where, how));
  auto after = pool.submit(square, 3);
  expect_error([&] { bad.get(); });
  EXPECT_EQ(before.get(), 4);
  EXPECT_EQ(after.get(), 9);
}

TEST_P(process_matrix, map) {
  const auto [where, how] = GetParam();
  tandem::process_pool pool(options());
  const std::vector<bomb> input{bomb(), bomb(), bomb(where, how), bomb()};
  tandem::map_options each;
  each.chunk = 1;
  each.task = task();
  int got = 0;
  expect_error([&] {
    for ([[maybe_unused]] const result_bomb& one : pool.map(handle_bomb, input, each)) ++got;
  });
  EXPECT_EQ(got, 2);
  EXPECT_EQ(pool.submit(square, 3).get(), 9);
}

class pool_edges : public tandem::test::checked {};
class pool_ways : public tandem::test::checked, public testing::WithParamInterface<way> {};

std::string name_of_way(const testing::TestParamInfo<way>& tested) { return way_names[static_cast<int>(tested.param)]; }
std::string name_of(const testing::TestParamInfo<std::tuple<place, way>>& info) {
  static const char* const places[] = {"none",          "decode_argument", "body",
                                       "encode_result", "decode_result",   "destructor"};
  return std::string(places[static_cast<int>(std::get<0>(info.param))]) + "_" +
         way_names[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(ways, process_matrix,
                         testing::Combine(testing::Values(place::decode_argument, place::body, place::encode_result),
                                          testing::Values(way::throws, way::exits, way::exits_now, way::segv, way::kill,
                                                          way::loops)),
                         name_of);
// A destructor must not throw; what is decoded in this process is this process's affair, unless it throws.
INSTANTIATE_TEST_SUITE_P(destructors, process_matrix,
                         testing::Combine(testing::Values(place::destructor),
                                          testing::Values(way::exits, way::exits_now, way::segv, way::kill,
                                                          way::loops)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(results, process_matrix,
                         testing::Combine(testing::Values(place::decode_result), testing::Values(way::throws)),
                         name_of);

// The argument is encoded by whoever submits: there it is thrown.
TEST_F(pool_edges, an_argument_that_cannot_be_encoded) {
  tandem::process_pool pool(1);
  EXPECT_THROW(static_cast<void>(pool.submit(handle_bomb, bomb(place::encode_argument, way::throws))),
               std::length_error);
  EXPECT_THROW(static_cast<void>(pool.try_submit(handle_bomb, bomb(place::encode_argument, way::throws))),
               std::length_error);
  const std::vector<bomb> input{bomb(), bomb(), bomb(place::encode_argument, way::throws), bomb()};
  int got = 0;
  EXPECT_THROW(for ([[maybe_unused]] const result_bomb& one
                    : pool.map(handle_bomb, input, {.chunk = 1}))++ got;
               , std::length_error);
  EXPECT_EQ(got, 2);
  EXPECT_EQ(pool.submit(square, 3).get(), 9);
  EXPECT_EQ(pool.stats().failed, 0U);
}

struct static_bomb {
  std::optional<way> how = {};
  ~static_bomb() {
    if (how) go(*how);
  }
} of_a_worker;

TEST_P(pool_ways, a_static_destructor) {
  tandem::process_pool pool({.workers = 1, .max_tasks_per_worker = 1});
  const auto arm = [](way how) { of_a_worker.how = how; };
  auto armed = pool.submit(arm, GetParam());
  auto after = pool.submit(square, 3);
  EXPECT_NO_THROW(armed.get());
  EXPECT_EQ(after.get(), 9);
  const auto arm_and_exit = [](way how) {
    of_a_worker.how = how;
    std::exit(7);
  };
  try {
    pool.submit(arm_and_exit, GetParam()).get();
    FAIL();
  } catch (const tandem::worker_exited& e) {
    EXPECT_EQ(e.report().status.code(), 7);
  }
  EXPECT_EQ(pool.submit(square, 4).get(), 16);
}

TEST_P(pool_ways, an_initializer) {
  void (*const initializers[])() = {[] { go(way::throws); }, [] { go(way::exits); }, [] { go(way::exits_now); },
                                    [] { go(way::segv); },   [] { go(way::kill); },  [] { go(way::loops); }};
  tandem::process_pool pool(
      {.workers = 2, .initializer = initializers[static_cast<int>(GetParam())], .stop_grace = 1ms, .kill_grace = 1ms});
  std::optional<tandem::future<int>> f;
  try {
    f = pool.submit(square, 2);
  } catch (...) {  // it may have failed already
    EXPECT_NE(GetParam(), way::loops);
    return;
  }
  switch (GetParam()) {
    case way::throws: EXPECT_THROW(f->get(), std::length_error); break;
    case way::exits:
    case way::exits_now: EXPECT_THROW(f->get(), tandem::worker_exited); break;
    case way::segv:
    case way::kill: EXPECT_THROW(f->get(), tandem::worker_crashed); break;
    case way::loops:
      EXPECT_FALSE(pool.shutdown({.within = 5ms}).in_time);
      EXPECT_THROW(f->get(), tandem::cancelled);
      break;
  }
}

INSTANTIATE_TEST_SUITE_P(ways, pool_ways,
                         testing::Values(way::throws, way::exits, way::exits_now, way::segv, way::kill, way::loops),
                         name_of_way);

}  // namespace
