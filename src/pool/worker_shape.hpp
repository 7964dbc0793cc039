#pragma once
// What all workers of a pool have in common.
#include <cstdint>

#include <tandem/deadline.hpp>

namespace tandem::pools {

struct worker_shape {
  bool fresh_image = false;
  nanoseconds stop_grace{};
  nanoseconds kill_grace{};
  void (*initializer)() = nullptr;
  std::uint32_t spin_ns = 0;
  std::uint32_t yields = 0;
  std::uint32_t workers = 1;  // how many the pool has
  std::uint32_t most_tasks = 0;
  std::uint64_t most_memory_bytes = 0;
};

}  // namespace tandem::pools
