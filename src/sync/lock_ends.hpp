#pragma once
// What the caller of a lock function is told.
#include "sync/lock_algorithm.hpp"

namespace tandem::sync {

/// True if taken, and counted among what the thread holds; false if late. Errors: owner_died; std::system_error.
bool taken_or_thrown(lock_end);

}  // namespace tandem::sync
