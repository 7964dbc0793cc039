#include "json.hpp"

#include <fmt/format.h>

namespace cli::json {

std::string text(std::string_view plain) {
  std::string quoted = "\"";
  for (const char c : plain) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c >= 0x20 && c < 0x7f) {
      quoted += c;
    } else {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    }
  }
  return quoted + '"';
}

std::string number(double value) {
  std::string digits = fmt::format("{:.4f}", value);
  while (digits.back() == '0') digits.pop_back();
  if (digits.back() == '.') digits.pop_back();
  return digits;
}

std::string flag(bool value) { return value ? "true" : "false"; }

std::string object(const members& all) {
  std::string joined;
  for (const auto& [name, value] : all) joined += (joined.empty() ? "" : ", ") + text(name) + ": " + value;
  return "{" + joined + "}";
}

std::string array(const std::vector<std::string>& all) { return fmt::format("[{}]", fmt::join(all, ", ")); }

std::string lines(const std::vector<std::string>& all) {
  return all.empty() ? "[]" : fmt::format("[\n  {}\n]", fmt::join(all, ",\n  "));
}

}  // namespace cli::json
