#pragma once
// The only code that runs between the clone and the user's function, and after it.
#include <array>
#include <cstddef>
#include <exception>
#include <span>
#include <vector>

#include <tandem/detail/transfer_wire.hpp>
#include <tandem/file_descriptor.hpp>

#include "os/kernel.hpp"
#include "worker/ledger.hpp"
#include "worker/protocol.hpp"

namespace tandem::worker {

/// What a worker knows of itself.
struct own_worker {
  std::array<char, most_name_bytes + 1> name;  // terminated by 0
  slot_page* page = nullptr;
  int door = -1;              // where results go: to the server, or to the program that forked this one
  bool of_server = true;      // the server starts workers for it; a forked one has none yet
  int parent_pidfd = -1;      // of the program that started it
  std::uint32_t process = 0;  // its handle in the session page
};

/// What the server has ready for a worker before it clones it, so that nothing can fail in between. It stays where it is.
struct worker_start {
  own_worker self;
  std::span<const std::byte> body;  // empty: in the memfd
  int body_memfd = -1;
  std::vector<file_descriptor> handles;
  int standard_error = -1;  // instead of the inherited one
  pid_t server = 0;         // that clones it
  std::span<const os::descriptor_range> to_close;
  bool fresh_image = false;
  std::uint32_t slot = 0;
  int ledger = -1;
  int session = -1;  // of a fresh image: the session page, or -1
};

/// Once in the keeper, before the preload, so that server and workers inherit it: what happens at exit and
/// std::terminate, and how standard output is buffered. `copied`: what is in those buffers is another program's.
void prepare_child_side(bool copied = true);

/// Once in the keeper, after that: goes through what every worker does, so that it is done here and not in each of them:
/// the dynamic linker looks up what is called for the first time, and the module of the program is found.
void rehearse();

/// How many threads of this process are there to listen for a stop of it: 0 or 1.
int stop_threads() noexcept;

/// The life of a worker, from the clone to _exit.
[[noreturn]] [[gnu::hot]] void run_worker(worker_start&);
/// The same from where it is a worker: reads the body, sets up, calls, publishes.
[[noreturn]] [[gnu::hot]] void run_body(std::span<const std::byte> body, int body_memfd,
                                        std::span<file_descriptor> handles);
/// The same after a copy of the program was made that has its memory: `call` is what it runs.
[[noreturn]] void run_copy(void (*call)(void*, detail::message&), void* argument);

/// In a program that copies itself: what it has printed is printed, and once.
void flush_before_copy(bool threads_run) noexcept;

/// What is known of this process once it is a worker. Stays where it is.
void be_worker(const own_worker&);
/// Makes known what became of the function, as an error.
void publish_exception(const std::exception_ptr&);

/// In a copy of a worker, made by fork(): it is none.
[[gnu::hot]] void forget_worker() noexcept;

const own_worker* this_process() noexcept;  // nullptr if this process is no worker

}  // namespace tandem::worker
