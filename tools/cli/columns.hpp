#pragma once
// Text in columns: what is too long for its column goes on in the next line, so that no line is longer than they are.
#include <cstddef>
#include <string>
#include <vector>

namespace cli {

/// One row, indented by two blanks, with two between the columns and an end of line; of plain ASCII.
std::string in_columns(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths);

}  // namespace cli
