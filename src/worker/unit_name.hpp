#pragma once
// The names of threads and processes.
#include <atomic>
#include <string>

namespace tandem::worker {

/// Errors: std::invalid_argument if it cannot be a name.
void require_name(const std::string&);
/// The name given, or `kind` with the next number.
std::string name_or_number(const std::string& given, const char* kind, std::atomic<unsigned>& numbers);

}  // namespace tandem::worker
