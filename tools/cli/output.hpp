#pragma once
// Standard output that is checked: a program whose output was lost must not say that all went well.
#include <string_view>

namespace cli {

/// Opens /dev/null in the place of each standard stream that was closed, so that no descriptor which is opened later
/// can take its number. Remembers whether standard output was among them. Called once, before anything is printed.
void keep_standard_streams();

/// Writes the text, at once and as a whole.
/// Errors: std::system_error.
void print(std::string_view text);

/// One sentence on standard error.
void complain(std::string_view sentence) noexcept;

}  // namespace cli
