#pragma once
// The small files in which Linux says how it is: /proc and /sys.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cli {

/// What is not printable ASCII becomes '?', so that it can neither confuse a terminal nor break JSON.
std::string printable(std::string text);

/// Its first line, printable; empty optional if there is no such file, or this user may not read it.
std::optional<std::string> first_line(const std::string& path);
std::vector<std::string> all_lines(const std::string& path);
/// Its first word as a number; nothing if it is none ("max").
std::optional<std::uint64_t> number_in(const std::string& path);
/// Of a file with lines "Name:  123 kB": the number after that name.
std::optional<std::uint64_t> field_in(const std::string& path, const std::string& name);

/// "64 MiB", "1.5 GiB"; small ones in KiB.
std::string in_binary_units(std::uint64_t bytes);

}  // namespace cli
