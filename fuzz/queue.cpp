// The memory of a queue, written over by one who shares it: the others get errors or wrong values, never a crash, never
// more memory than the queue has. The first bytes say what the queue is like; then come, again and again, where to write and
// what, and what to do next.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include <tandem/error.hpp>

#include "channel/queue_core.hpp"
#include "os/kernel.hpp"

namespace {

using tandem::detail::queue_core;
constexpr auto at_once = tandem::detail::at_once;
constexpr std::size_t queue_bytes = 8192;

class taken final : public tandem::detail::sink {
 public:
  void whole(std::span<const std::byte> bytes) override { check(bytes.size()); }
  std::span<std::byte> room(std::size_t total, std::size_t filled) override {
    check(total);
    memory_.resize(total);
    return std::span(memory_).subspan(filled);
  }
  void filled() override {}

 private:
  static void check(std::size_t size) {
    if (size > queue_bytes) std::abort();
  }
  std::vector<std::byte> memory_;
};

class input {
 public:
  input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}
  bool empty() const { return left_.empty(); }
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    const std::size_t size = std::min(bytes, left_.size());
    if (size != 0) std::memcpy(&value, left_.data(), size);
    left_ = left_.subspan(size);
    return value;
  }

 private:
  std::span<const std::uint8_t> left_;
};

void act(queue_core& q, bool flat, std::uint64_t what) {
  const std::vector<std::byte> message(flat ? 24 : what * 37 % 3000);
  std::byte into[24];
  taken sink;
  switch (what % 6) {
    case 0:
    case 1: q.push({message, {}, {}}, at_once, nullptr); return;
    case 2:
    case 3:
      if (flat)
        q.pop_flat(into, at_once, nullptr);
      else
        q.pop(sink, at_once, nullptr);
      return;
    case 4: q.stats(); return;
    default: static_cast<void>(q.size() != 0 && q.ready());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input in(data, size);
  const std::uint64_t first = in.number(1);
  const bool flat = first % 2 == 0;
  queue_core q({flat ? 24U : 0U, 8, 24, 1 + first / 2 % 16, queue_bytes});
  const auto parcel = q.parcel();
  auto* const memory = static_cast<std::byte*>(tandem::os::map(parcel.descriptor.get(), 0, parcel.count));
  if (memory == nullptr) return 0;
  using words = tandem::channel::ring_words<tandem::sync::environment>;
  while (!in.empty()) {
    const std::size_t offset = in.number(2) * 8 % parcel.count;
    const std::uint64_t value = in.number(8);
    // A lock that a live one holds is waited for: those words are left alone.
    if (offset != offsetof(words, burying) && offset != offsetof(words, placing) && offset + 8 <= parcel.count)
      std::memcpy(memory + offset, &value, sizeof value);
    const std::uint64_t what = in.number(1);
    for (std::uint64_t i = 0; i < 3; ++i) {
      try {
        act(q, flat, what + i);
      } catch (const tandem::error&) {
      }
    }
  }
  tandem::os::unmap(memory, parcel.count);
  return 0;
}
