// Memory for tasks. A task is made by one thread and let go by another: each thread keeps some of each size, and hands
// whole chains to the others through a depot.
#include <array>
#include <mutex>
#include <new>
#include <vector>

#include <tandem/detail/thread_task.hpp>

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
constexpr unsigned chain_length = 64;
constexpr std::size_t most_chains = 1024;  // of each size; 64 Ki tasks

struct block {
  block* next;
};

struct depot {
  std::mutex mutex;
  std::array<std::vector<block*>, classes> chains;
};
depot& the_depot() {
  static depot* const made = new depot;  // tasks may be let go by the destructors of static objects
  return *made;
}

struct shelf {
  block* full = nullptr;  // a whole chain, or nothing
  block* open = nullptr;
  unsigned count = 0;  // of the open one
};
struct cache {
  std::array<shelf, classes> shelves;
  enum class phase { unused, used, gone } state;
};
constinit thread_local cache own{};

void release_chain(block* chain) noexcept {
  while (chain != nullptr) {
    block* const next = chain->next;
    ::operator delete(static_cast<void*>(chain));
    chain = next;
  }
}

struct clearing {
  bool armed = false;
  ~clearing() {
    own.state = cache::phase::gone;
    for (shelf& s : own.shelves) {
      release_chain(s.full);
      release_chain(s.open);
      s = {};
    }
  }
};
thread_local clearing at_end;

void put_in_depot(block* chain, std::size_t index) noexcept {
  depot& d = the_depot();
  try {
    const std::lock_guard lock(d.mutex);
    if (d.chains[index].size() < most_chains) {
      d.chains[index].push_back(chain);
      return;
    }
  } catch (const std::bad_alloc&) {
  }
  release_chain(chain);
}

block* take_from_depot(std::size_t index) {
  depot& d = the_depot();
  const std::lock_guard lock(d.mutex);
  if (d.chains[index].empty()) return nullptr;
  block* const chain = d.chains[index].back();
  d.chains[index].pop_back();
  return chain;
}

[[gnu::noinline]] void* allocate_slowly(std::size_t index) {
  cache& c = own;
  shelf& s = c.shelves[index];
  if (c.state == cache::phase::unused) {
    c.state = cache::phase::used;
    at_end.armed = true;  // its destructor runs from now on
  }
  if (c.state == cache::phase::used) {
    s.open = s.full != nullptr ? s.full : take_from_depot(index);
    s.full = nullptr;
    if (s.open != nullptr) {
      s.count = chain_length - 1;
      block* const taken = s.open;
      s.open = taken->next;
      return taken;
    }
  }
  return ::operator new((index + 1) * step);
}

[[gnu::noinline]] void free_slowly(block* freed, std::size_t index) noexcept {
  cache& c = own;
  shelf& s = c.shelves[index];
  if (c.state == cache::phase::unused) {
    c.state = cache::phase::used;
    at_end.armed = true;
  }
  if (c.state == cache::phase::gone) {
    ::operator delete(static_cast<void*>(freed));
    return;
  }
  if (s.count == chain_length) {
    if (s.full != nullptr) put_in_depot(s.full, index);
    s.full = std::exchange(s.open, nullptr);
    s.count = 0;
  }
  freed->next = s.open;
  s.open = freed;
  ++s.count;
}

}  // namespace

void* allocate_task(std::size_t bytes) {
  const std::size_t index = (bytes - 1) / step;
  if (!recycled || index >= classes) return ::operator new(bytes);
  shelf& s = own.shelves[index];
  if (block* const taken = s.open) {
    s.open = taken->next;
    --s.count;
    return taken;
  }
  return allocate_slowly(index);
}

void free_task(void* memory, std::size_t bytes) noexcept {
  const std::size_t index = (bytes - 1) / step;
  if (!recycled || index >= classes) return ::operator delete(memory);
  auto* const freed = static_cast<block*>(memory);
  shelf& s = own.shelves[index];
  if (own.state != cache::phase::used || s.count == chain_length) return free_slowly(freed, index);
  freed->next = s.open;
  s.open = freed;
  ++s.count;
}

}  // namespace tandem::detail
