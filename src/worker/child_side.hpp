#pragma once
// The only code that runs between the clone and the user's function, and after it.
#include <array>
#include <cstddef>
#include <span>
#include <stop_token>

#include "os/kernel.hpp"
#include "worker/ledger.hpp"
#include "worker/protocol.hpp"

namespace tandem::worker {

/// What a worker knows of itself.
struct own_worker {
  std::array<char, most_name_bytes + 1> name;  // terminated by 0
  slot_page* page = nullptr;
  int door = -1;          // to the server
  int parent_pidfd = -1;  // of the program that started it
};

/// What the server has ready for a worker before it clones it, so that nothing can fail in between. It stays where it is.
struct worker_start {
  own_worker self;
  std::span<const std::byte> call;  // empty: in the memfd
  int call_memfd = -1;
  pid_t server = 0;  // that clones it
  std::span<const os::descriptor_range> to_close;
};

/// Once in the keeper, before the preload, so that server and workers inherit it: what happens at exit and
/// std::terminate, and how standard output is buffered.
void prepare_child_side();

/// The life of a worker, from the clone to _exit.
[[noreturn]] [[gnu::hot]] void run_worker(const worker_start&);

/// In a copy of a worker, made by fork(): it is none.
[[gnu::hot]] void forget_worker() noexcept;

const own_worker* this_process() noexcept;  // nullptr if this process is no worker

}  // namespace tandem::worker
