#include "text_files.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace cli {

std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return text;
}

std::optional<std::string> first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return printable(line);
}

std::vector<std::string> all_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  // Written out, since a negative number would be read as a large one: "-1" is how some files say that there is no limit.
  if (file.peek() == '-' || !(file >> number)) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> field_in(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name + ":")) continue;
    std::stringstream rest(line.substr(name.size() + 1));
    std::uint64_t number = 0;
    if (rest >> number) return number;
  }
  return std::nullopt;
}

std::string in_binary_units(std::uint64_t bytes) {
  const char* unit = "KiB";
  double amount = static_cast<double>(bytes) / 1024;
  for (const char* larger : {"MiB", "GiB", "TiB"}) {
    if (amount < 1024) break;
    amount /= 1024;
    unit = larger;
  }
  std::string digits = fmt::format("{:.1f}", amount);
  if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
  return fmt::format("{} {}", digits, unit);
}

}  // namespace cli
