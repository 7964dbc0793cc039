// Memory that a peer has scribbled over: any answer will do, but no crash, no access outside, and an end.
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <thread>

#include <tandem/sync.hpp>

#include "support/fixture.hpp"
#include "support/run_program.hpp"
#include "sync/mapped.hpp"
#include "sync/session.hpp"
#include "sync/share_algorithm.hpp"

namespace {

using namespace std::chrono_literals;
using tandem::file_descriptor;
using tandem::test::mapped;

class scribbled : public tandem::test::checked {};

struct objects {
  tandem::timed_mutex mutex = {};
  tandem::recursive_mutex recursive = {};
  tandem::condition_variable changed = {};
  tandem::shared_mutex book = {};
  tandem::counting_semaphore<> permits{1};
  tandem::event event = {};
  tandem::barrier barrier{1};
  tandem::latch latch{1};
  tandem::once_flag once = {};
};

template <class Operation>
void any_end(Operation operation) {
  try {
    operation();
  } catch (const std::exception&) {
  }
}

// What waits for as long as it takes: no word of nobody keeps it waiting. (One that names a participant who lives does.)
void use_untimed(objects& o) {
  any_end([&] {
    o.mutex.lock();
    o.mutex.unlock();
  });
  any_end([&] { o.mutex.lock_and_repair([] {}); });
  any_end([&] {
    o.book.lock();
    o.book.unlock();
  });
  any_end([&] {
    o.book.lock_shared();
    o.book.unlock_shared();
  });
  any_end([&] { o.book.lock_and_repair([] {}); });
  any_end([&] { tandem::call_once(o.once, [] {}); });
}

// All that comes to an end by itself.
void use_all(objects& o) {
  any_end([&] {
    if (o.mutex.try_lock_for(100us)) o.mutex.unlock();
  });
  any_end([&] {
    if (o.recursive.try_lock_for(100us)) o.recursive.unlock();
  });
  any_end([&] { o.mutex.unlock(); });
  any_end([&] {
    std::mutex own;
    std::unique_lock lock(own);
    o.changed.wait_for(lock, 100us);
    o.changed.notify_one();
    o.changed.notify_all();
  });
  any_end([&] {
    if (o.book.try_lock_for(100us)) o.book.unlock();
  });
  any_end([&] {
    if (o.book.try_lock_shared_for(100us)) o.book.unlock_shared();
  });
  any_end([&] { o.book.unlock_shared(); });
  any_end([&] {
    if (o.permits.try_acquire_for(100us)) o.permits.release();
  });
  any_end([&] { o.permits.release(5); });
  any_end([&] {
    o.event.wait_for(100us);
    o.event.set();
    o.event.reset();
  });
  any_end([&] { o.barrier.reset(); });
  any_end([&] { o.latch.count_down(3); });
  any_end([&] { static_cast<void>(o.latch.try_wait()); });
}

void scribble(std::mt19937& random, void* where, std::size_t bytes) {
  auto* const at = static_cast<unsigned char*>(where);
  for (std::size_t i = 0; i < bytes; ++i) at[i] = static_cast<unsigned char>(random());
}

TEST_F(scribbled, objects_harm_nobody) {
  tandem::process p([] {
    std::mt19937 random(1);
    const auto o = std::make_unique<objects>();
    for (int i = 0; i < 300; ++i) {
      scribble(random, o.get(), sizeof(objects));
      use_all(*o);
    }
  });
  p.get();
}

TEST_F(scribbled, single_bits_harm_nobody) {
  tandem::process p([] {
    std::mt19937 random(2);
    for (int i = 0; i < 500; ++i) {
      const auto o = std::make_unique<objects>();
      use_all(*o);
      auto* const at = reinterpret_cast<unsigned char*>(o.get());
      for (int bits = 0; bits < 3; ++bits)
        at[random() % sizeof(objects)] ^= static_cast<unsigned char>(1U << random() % 8);
      use_all(*o);
    }
  });
  p.get();
}

TEST_F(scribbled, words_of_nobody_are_waited_for_by_nobody) {
  tandem::process p([] {
    std::mt19937 random(4);
    // Bits of the word of a lock: one waits; its owner has died; names that no participant has.
    constexpr std::uint32_t words[] = {1U << 31, 1U << 30, 3U << 30, 0x0FFF'FFFFU, 0xFFFF'FFFFU, 0x7FFF'0000U};
    for (int i = 0; i < 500; ++i) {
      const auto o = std::make_unique<objects>();
      if (i % 2 != 0) use_untimed(*o);
      for (void* const word :
           {static_cast<void*>(&o->mutex), static_cast<void*>(&o->book), static_cast<void*>(&o->once)})
        std::memcpy(word, &words[random() % std::size(words)], sizeof(std::uint32_t));
      // The readers of the shared_mutex come after its word.
      const std::uint64_t readers = i % 3 == 0 ? std::uint64_t{random()} % 5 : std::uint64_t{1} << (random() % 32);
      std::memcpy(reinterpret_cast<unsigned char*>(&o->book) + 8, &readers, sizeof readers);
      use_untimed(*o);
    }
  });
  p.get();
}

TEST_F(scribbled, a_mark_of_nobody_does_not_outlast_a_deadline) {
  objects o;
  o.book.lock();
  o.book.unlock();
  constexpr std::uint64_t mark = std::uint64_t{1} << 30;
  std::memcpy(reinterpret_cast<unsigned char*>(&o.book) + 8, &mark, sizeof mark);
  EXPECT_FALSE(o.book.try_lock_shared_for(50us));  // and not owner_died, after a million looks
  EXPECT_FALSE(o.book.try_lock_shared());
  EXPECT_THROW(o.book.lock_shared(), tandem::owner_died);
  o.book.lock();  // a writer makes it good
  o.book.unlock();
  EXPECT_TRUE(o.book.try_lock_shared());
  o.book.unlock_shared();
}

// In a program of its own, since the session is everybody's.
void scribble_over_the_session() {
  std::mt19937 random(3);
  const auto o = std::make_unique<objects>();
  for (int i = 0; i < 30; ++i) {
    use_all(*o);
    tandem::sync::session_page& p = tandem::sync::session();
    auto* const from = reinterpret_cast<unsigned char*>(&p.objects);
    const auto head = static_cast<std::size_t>(reinterpret_cast<unsigned char*>(&p.participants[64]) - from);
    scribble(random, from, head);
    scribble(random, static_cast<void*>(p.processes), 512);
    scribble(random, static_cast<void*>(p.claims), 4096);
    use_all(*o);
    std::thread([&] { use_all(*o); }).join();
    const auto fresh = std::make_unique<objects>();
    use_all(*fresh);
    any_end([&] {
      const tandem::counting_semaphore<>::guard guard(fresh->permits);
      fresh->book.lock_shared();
      fresh->book.unlock_shared();
    });
    tandem::sync::process_ended(static_cast<std::uint32_t>(random()));
    tandem::sync::domain_ended(static_cast<std::uint32_t>(random()));
  }
}

TEST_F(scribbled, the_session_page_harms_nobody) {
  const auto said = tandem::test::run({std::filesystem::read_symlink("/proc/self/exe").string(), "session"});
  EXPECT_EQ(said.code, 0) << said.err;
  EXPECT_EQ(said.signal, 0) << said.err;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1 && std::string(argv[1]) == "session") {
    scribble_over_the_session();
    return 0;
  }
  tandem::init();
  return RUN_ALL_TESTS();
}
