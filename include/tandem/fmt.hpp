#pragma once
// Formatters of {fmt} for what tandem prints: fmt::print("{}", p.status().value()). Needs {fmt} 9.
#include <string>

#include <fmt/format.h>

#include <tandem/crash_report.hpp>

template <>
struct fmt::formatter<tandem::exit_status> : fmt::formatter<std::string> {
  auto format(const tandem::exit_status& status, format_context& context) const {
    return fmt::formatter<std::string>::format(status.to_string(), context);
  }
};

template <>
struct fmt::formatter<tandem::crash_report> : fmt::formatter<std::string> {
  auto format(const tandem::crash_report& report, format_context& context) const {
    return fmt::formatter<std::string>::format(report.to_string(), context);
  }
};
