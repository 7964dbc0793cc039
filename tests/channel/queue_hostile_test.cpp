// A process that shares a queue writes over its memory: the others get errors or wrong values.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "channel/queue_core.hpp"
#include "support/fixture.hpp"

namespace {

using tandem::detail::queue_core;
using tandem::detail::queue_form;

class hostile_queue : public tandem::test::checked {};

// The memory of a queue, as another process has it.
class scribbled {
 public:
  explicit scribbled(const queue_core& core) : parcel_(core.parcel()), bytes_(parcel_.count) {
    at_ = static_cast<std::byte*>(tandem::os::map(parcel_.descriptor.get(), 0, bytes_));
  }
  scribbled(const scribbled&) = delete;
  scribbled& operator=(const scribbled&) = delete;
  ~scribbled() { tandem::os::unmap(at_, bytes_); }
  std::byte* at(std::size_t offset) const { return at_ + offset; }
  std::size_t bytes() const { return bytes_; }

 private:
  tandem::detail::segment_parcel parcel_;
  std::size_t bytes_;
  std::byte* at_;
};

void scribble(const scribbled& memory, std::mt19937_64& random) {
  using words = tandem::channel::ring_words<tandem::sync::environment>;
  const std::size_t first = random() % 3 == 0 ? 0 : random() % 2 == 0 ? 4096 : random() % memory.bytes();
  const std::size_t range = std::min<std::size_t>(first == 0 ? sizeof(words) : 4096, memory.bytes() - first);
  for (int i = 0; i < 4; ++i) {
    const std::size_t offset = (first + random() % range) & ~std::size_t{7};
    if (offset + 8 > memory.bytes()) continue;
    const std::uint64_t values[] = {random(), random() % 16, ~std::uint64_t{0}, std::uint64_t{1} << (random() % 64)};
    std::memcpy(memory.at(offset), &values[random() % 4], 8);
  }
}

class swallowing final : public tandem::detail::sink {
 public:
  void whole(std::span<const std::byte> bytes) override { size_ = bytes.size(); }
  std::span<std::byte> room(std::size_t total, std::size_t filled) override {
    if (filled == 0) memory_.resize(total);
    return std::span(memory_).subspan(filled);
  }
  void filled() override { size_ = memory_.size(); }
  std::size_t size() const { return size_; }

 private:
  std::vector<std::byte> memory_;
  std::size_t size_ = 0;
};

constexpr auto at_once = tandem::detail::at_once;

void use(queue_core& q, bool flat, std::size_t bytes) {
  const std::vector<std::byte> message(bytes, std::byte{7});
  for (int i = 0; i < 3; ++i) {
    try {
      q.push({message, {}, {}}, at_once, nullptr);
      std::vector<std::byte> into(bytes);
      swallowing sink;
      if (flat)
        q.pop_flat(into.data(), at_once, nullptr);
      else
        q.pop(sink, at_once, nullptr);
      EXPECT_LE(sink.size(), std::size_t{1} << 20);
      q.size();
      q.ready();
    } catch (const tandem::error&) {
    }
  }
  q.stats();
}

void attack(bool flat, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::size_t size = flat ? 24 : random() % 3000;
  const queue_form form{flat ? 24U : 0U, 8, 24, 1 + random() % 9, 16384};
  queue_core q(form);
  const scribbled memory(q);
  for (int i = 0; i < 20; ++i) {
    use(q, flat, size);
    scribble(memory, random);
  }
  use(q, flat, size);
}

TEST_F(hostile_queue, memory_that_is_written_over_is_an_error_or_a_wrong_value) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    attack(true, seed);
    attack(false, seed);
  }
}

// As if another thread had been stopped between two steps: it has the lock, lives, and does not go on.
TEST_F(hostile_queue, one_that_was_stopped_holds_up_nobody_who_waits_for_a_time) {
  queue_core q({0, 1, 32, 4, 16384});
  const scribbled memory(q);
  auto& words = *reinterpret_cast<tandem::channel::ring_words<tandem::sync::environment>*>(memory.at(0));
  tandem::event is_stopped, goes_on;
  tandem::thread stopped([&] {
    const std::uint32_t self = tandem::sync::environment::me();
    words.placing.store(self);
    words.burying.store(self);
    is_stopped.set();
    goes_on.wait();
    words.burying.store(0);
    words.placing.store(0);
  });
  is_stopped.wait();
  const std::vector<std::byte> message(100, std::byte{7});
  EXPECT_FALSE(q.push({message, {}, {}}, at_once, nullptr));
  EXPECT_FALSE(q.push({message, {}, {}}, tandem::clock::now() + std::chrono::milliseconds(1), nullptr));
  swallowing sink;
  EXPECT_EQ(q.pop(sink, at_once, nullptr), tandem::detail::arrival::none);
  EXPECT_EQ(q.stats().pushed, 0U);
  goes_on.set();
  stopped.join();
  EXPECT_TRUE(q.push({message, {}, {}}, at_once, nullptr));
}

TEST_F(hostile_queue, a_handle_that_lies_is_refused) {
  const queue_form form{0, 1, 32, 4, 16384};
  queue_core q(form);
  const std::pair<std::uint64_t, std::uint64_t> lies[] = {
      {0, 16384}, {5000, 16384}, {4, std::uint64_t{1} << 40}, {~std::uint64_t{0}, ~std::uint64_t{0}}};
  for (const auto& [capacity, bytes] : lies) {
    tandem::writer w;
    w(true);
    w(capacity);
    w(bytes);
    auto parcel = q.parcel();
    w(parcel.count);
    tandem::detail::wire::attach(w, std::move(parcel.descriptor));
    const auto all = tandem::detail::finished_bytes(w);
    auto handles = tandem::detail::wire::taken_handles(std::move(w));
    tandem::reader r = tandem::detail::make_reader(all, handles);
    EXPECT_THROW(tandem::detail::queue_end::read(r, form), tandem::decode_error);
  }
}

}  // namespace
