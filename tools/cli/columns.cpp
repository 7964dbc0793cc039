#include "columns.hpp"

#include <algorithm>

namespace cli {

namespace {

// At blanks; a word that is longer than the column is cut.
std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
  std::vector<std::string> lines;
  std::string rest = text;
  while (rest.size() > width) {
    std::size_t end = rest.rfind(' ', width);
    if (end == std::string::npos || end == 0) end = width;
    lines.push_back(rest.substr(0, end));
    rest.erase(0, rest[end] == ' ' ? end + 1 : end);
  }
  lines.push_back(rest);
  return lines;
}

}  // namespace

std::string in_columns(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) {
  std::vector<std::vector<std::string>> all;
  std::size_t height = 0;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    all.push_back(wrapped(cells[i], widths[i]));
    height = std::max(height, all.back().size());
  }
  std::string text;
  for (std::size_t row = 0; row < height; ++row) {
    std::string line;
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::string cell = row < all[i].size() ? all[i][row] : "";
      cell.resize(widths[i], ' ');
      line += "  " + cell;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace cli
