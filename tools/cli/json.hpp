#pragma once
// JSON, as far as a program that only writes it needs it.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cli::json {

std::string text(std::string_view);
std::string number(double);  // with four digits after the point at most
std::string flag(bool);

/// Members and elements are JSON already.
using members = std::vector<std::pair<std::string_view, std::string>>;
std::string object(const members&);
std::string array(const std::vector<std::string>&);
/// An array in which each element has a line of its own.
std::string lines(const std::vector<std::string>&);

}  // namespace cli::json
