#pragma once
// start_method::spawn: a worker that becomes a fresh image of the program, and what that image does when it reaches
// init().
namespace tandem::worker {

struct worker_start;

/// In the clone: the program anew, with the few descriptors that it needs. What fails is made known as the worker's error.
[[noreturn]] void become_fresh_image(const worker_start&);

/// True if this process is such an image that has not been through init() yet.
bool awaits_init() noexcept;
/// In such an image, from init(): the life of the worker, to _exit. Errors: tandem::error if what was handed over is not
/// there, and nobody can be told.
[[noreturn]] void run_fresh_image();

}  // namespace tandem::worker
