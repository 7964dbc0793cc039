// Memory for tasks. A task is made by one thread and let go by another: each thread keeps some of each size, and hands
// whole crates to the others through a depot. Each task has cache lines of its own, and those that are next to be used
// are asked for in advance: the other thread wrote them last.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <tandem/detail/thread_task.hpp>

#include "os/kernel.hpp"

namespace tandem::detail {

namespace {

// A sanitizer sees through memory that is not given back.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool recycled = false;
#else
constexpr bool recycled = true;
#endif

constexpr std::size_t step = 64;
constexpr std::size_t classes = 8;
constexpr unsigned crate_size = 64;
constexpr std::size_t most_crates = 1024;  // of each size; 64 Ki tasks
constexpr unsigned ahead = 6;              // a line comes from another CPU while so many tasks are made

// The smallest ones come seven at a time: there is no room beside them for what the others have behind them. A group goes
// back when all seven have: so many that little is wasted, and so few that one which is kept keeps half a KiB and no more.
constexpr std::size_t group_bytes = 8 * step;
constexpr std::size_t asked_bytes =
    group_bytes - 2 * sizeof(void*);  // with malloc's own; then the next one has its place
struct group {
  static constexpr unsigned size = group_bytes / step - 1;
  std::array<std::array<std::byte, step>, size> blocks;
  std::atomic<unsigned> left;
};
static_assert(sizeof(group) <= asked_bytes);
group* allocate_group() {
  void* memory = nullptr;
  if (::posix_memalign(&memory, group_bytes, asked_bytes) != 0) throw std::bad_alloc();
  group* const made = ::new (memory) group;
  made->left.store(group::size, std::memory_order_relaxed);
  return made;
}
void leave_group(void* block) noexcept {
  // SAFETY: groups begin at multiples of their size, and the block is in one.
  auto* const of = reinterpret_cast<group*>(reinterpret_cast<std::uintptr_t>(block) / group_bytes * group_bytes);
  if (of->left.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(of);
}

// The true address is kept behind the block. (Aligned operator new takes several times as long where much is held.)
void* allocate(std::size_t bytes) {
  constexpr std::size_t shift = step - __STDCPP_DEFAULT_NEW_ALIGNMENT__;
  auto* const all = static_cast<std::byte*>(::operator new(bytes + shift + sizeof(void*)));
  std::byte* const block = all + (step - reinterpret_cast<std::uintptr_t>(all) % step) % step;
  std::memcpy(block + bytes, &all, sizeof all);
  return block;
}
void give_back(void* block, std::size_t bytes) noexcept {
  if (bytes == step) return leave_group(block);
  void* all = nullptr;
  std::memcpy(&all, static_cast<std::byte*>(block) + bytes, sizeof all);
  ::operator delete(all);
}

struct crate {
  explicit crate(std::size_t bytes) noexcept : block_bytes(bytes) {}
  crate(const crate&) = delete;
  crate& operator=(const crate&) = delete;
  ~crate() {
    while (count > 0) give_back(blocks[--count], block_bytes);
  }
  void* take() noexcept {
    if (count > ahead) os::want_to_write(blocks[count - 1 - ahead]);
    return blocks[--count];
  }

  std::size_t block_bytes;
  unsigned count = 0;
  std::array<void*, crate_size> blocks;
};
using crate_ptr = std::unique_ptr<crate>;

struct depot {
  std::mutex mutex;
  std::array<std::vector<crate_ptr>, classes> crates;
};
depot& the_depot() {
  static depot* const made = new depot;  // tasks may be let go by the destructors of static objects
  return *made;
}

struct shelf {
  crate* full = nullptr;
  crate* open = nullptr;
};
struct cache {
  std::array<shelf, classes> shelves;
  enum class phase { unused, used, gone } state;
};
constinit thread_local cache own{};

struct clearing {
  bool armed = false;
  ~clearing() {
    own.state = cache::phase::gone;
    for (shelf& s : own.shelves) {
      delete std::exchange(s.full, nullptr);
      delete std::exchange(s.open, nullptr);
    }
  }
};
thread_local clearing at_end;

bool may_keep(cache& c) noexcept {
  if (c.state == cache::phase::unused) {
    c.state = cache::phase::used;
    at_end.armed = true;  // its destructor runs from now on
  }
  return c.state == cache::phase::used;
}

void put_in_depot(crate_ptr full, std::size_t index) noexcept {
  depot& d = the_depot();
  try {
    const std::lock_guard lock(d.mutex);
    if (d.crates[index].size() < most_crates) d.crates[index].push_back(std::move(full));
  } catch (const std::bad_alloc&) {  // then its blocks go
  }
}

crate* take_from_depot(std::size_t index) {
  depot& d = the_depot();
  const std::lock_guard lock(d.mutex);
  if (d.crates[index].empty()) return nullptr;
  crate* const taken = d.crates[index].back().release();
  d.crates[index].pop_back();
  return taken;
}

[[gnu::noinline]] void* allocate_slowly(std::size_t index) {
  cache& c = own;
  shelf& s = c.shelves[index];
  if (may_keep(c)) {
    if (s.full == nullptr) s.full = take_from_depot(index);
    if (s.full != nullptr) {
      std::swap(s.full, s.open);
      delete std::exchange(s.full, nullptr);  // the empty one
      for (unsigned i = 1; i <= ahead; ++i) os::want_to_write(s.open->blocks[s.open->count - 1 - i]);
      return s.open->take();
    }
  }
  if (index != 0) return allocate((index + 1) * step);
  group* const made = allocate_group();
  if (may_keep(c) && s.open == nullptr) s.open = new (std::nothrow) crate(step);
  for (unsigned i = group::size - 1; i > 0; --i) {
    if (may_keep(c) && s.open != nullptr) {
      s.open->blocks[s.open->count++] = made->blocks[i].data();
    } else {
      leave_group(made->blocks[i].data());
    }
  }
  return made->blocks[0].data();
}

[[gnu::noinline]] void free_slowly(void* freed, std::size_t index) noexcept {
  cache& c = own;
  shelf& s = c.shelves[index];
  const std::size_t bytes = (index + 1) * step;
  if (!may_keep(c)) return give_back(freed, bytes);
  if (s.open != nullptr && s.open->count == crate_size) {
    if (s.full != nullptr) put_in_depot(crate_ptr(s.full), index);
    s.full = std::exchange(s.open, nullptr);
  }
  if (s.open == nullptr) s.open = new (std::nothrow) crate(bytes);
  if (s.open == nullptr) return give_back(freed, bytes);
  s.open->blocks[s.open->count++] = freed;
}

}  // namespace

void* allocate_task(std::size_t bytes) {
  const std::size_t index = (bytes - 1) / step;
  if (!recycled || index >= classes) return ::operator new(bytes);
  crate* const open = own.shelves[index].open;
  return open != nullptr && open->count > 0 ? open->take() : allocate_slowly(index);
}

void free_task(void* memory, std::size_t bytes) noexcept {
  const std::size_t index = (bytes - 1) / step;
  if (!recycled || index >= classes) return ::operator delete(memory);
  crate* const open = own.shelves[index].open;
  if (open == nullptr || open->count == crate_size) return free_slowly(memory, index);
  open->blocks[open->count++] = memory;
}

}  // namespace tandem::detail
