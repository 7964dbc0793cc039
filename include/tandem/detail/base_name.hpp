#pragma once
// The name of a type, in a constant expression. The standard's containers are told by name, so that
// <tandem/transfer.hpp> and <tandem/shared.hpp> need not include their headers: a program pays for those that it uses.
#include <string_view>

namespace tandem::detail {

template <class T>
consteval std::string_view pretty_name() {
  return __PRETTY_FUNCTION__;
}

/// `T` as the compiler writes it, such as std::vector<int>.
template <class T>
consteval std::string_view type_name() {
  std::string_view text = pretty_name<T>();
  text.remove_prefix(text.find("T = ") + 4);
  const auto end = text.find("; std::string_view");  // gcc lists the aliases that it used
  return text.substr(0, end == std::string_view::npos ? text.size() - 1 : end);
}

/// The name below std, without template arguments and without inline namespaces: vector, chrono::duration,
/// filesystem::path. Empty for a type outside std or inside one of its classes.
template <class T>
consteval std::string_view std_name() {
  std::string_view text = type_name<T>();
  if (!text.starts_with("std::")) return {};
  text.remove_prefix(5);
  while (text.starts_with("__")) text.remove_prefix(text.find("::") + 2);
  const auto arguments = text.find('<');
  if (arguments == std::string_view::npos) return text;
  return text.back() == '>' ? text.substr(0, arguments) : std::string_view{};
}

/// True for the closure type of a lambda: `f()::<lambda(int)>` (gcc), `(lambda at f.cpp:1:2)` (clang).
template <class T>
consteval bool is_lambda() {
  const std::string_view text = type_name<T>();
  constexpr auto npos = std::string_view::npos;
  return (text.find("(lambda at ") != npos && text.ends_with(")")) ||
         (text.find("<lambda(") != npos && text.ends_with(")>"));
}

}  // namespace tandem::detail
