#pragma once
// Names in /dev/shm that were left there.
#include <string>
#include <string_view>
#include <vector>

namespace tandem::os {

/// As open_named(), but never makes it.
int open_left(const char* name) noexcept;
/// The names that begin so; fewer if the directory cannot be read. Errors: std::bad_alloc.
std::vector<std::string> names_that_begin(std::string_view begin);

}  // namespace tandem::os
