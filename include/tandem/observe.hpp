#pragma once
// Seeing what the library does. Its own messages; by default warnings and errors go to standard error.
#include <functional>
#include <string_view>

#include <tandem/detail/export.hpp>

namespace tandem {

enum class log_level { debug, information, warning, error };

/// Gives the library's messages of this program, those of its workers included, to `receive` from now on; an empty
/// function restores the default (warnings and errors go to standard error).
/// Blocks: for a call of the old receiver that is under way in another thread, no. Threads: any; `receive` may be
/// called from several at once. Fork: workers send theirs to the program that started them. Errors: std::bad_alloc;
/// what `receive` throws is swallowed, and said on standard error.
TANDEM_EXPORT void on_log(std::function<void(log_level, std::string_view)> receive);

}  // namespace tandem
