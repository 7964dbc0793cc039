#include "transfer/known_exceptions.hpp"

#include <any>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace tandem::detail {

namespace {

/// An E with a text of its own, for one whose text cannot be had by constructing an E here: from another standard
/// library version, of an error category that this program does not have, or a private constructor.
template <class E>
class worded final : public E {
 public:
  template <class... A>
  explicit worded(const std::string& text, const A&... a) : E(a...), text_(std::make_shared<const std::string>(text)) {}
  const char* what() const noexcept override { return text_->c_str(); }

 private:
  std::shared_ptr<const std::string> text_;  // shared, so that a copy cannot throw
};

template <class E, class... A>
std::exception_ptr make(const std::string& text, const A&... a) {
  E e(a...);
  if (text == e.what()) return std::make_exception_ptr(std::move(e));
  return std::make_exception_ptr(worded<E>(text, a...));
}

// ---- error codes ----

enum class category : std::uint8_t { generic, system, iostream, future, foreign };

const std::error_category& category_here(category c) {
  switch (c) {
    case category::system: return std::system_category();
    case category::iostream: return std::iostream_category();
    case category::future: return std::future_category();
    case category::generic:
    case category::foreign: break;
  }
  return std::generic_category();
}

void write_code(writer& w, const std::error_code& code) {
  category found = category::foreign;
  for (const auto c : {category::generic, category::system, category::iostream, category::future}) {
    if (code.category() == category_here(c)) found = c;
  }
  write_value(w, found);
  write_value(w, code.value());
}

std::error_code read_code(reader& r) {
  const auto c = read_value<category>(r);
  return {read_value<int>(r), category_here(c)};
}

/// What was given to the constructor of a system_error with this text: "text: message".
std::optional<std::string> prefix_of(const std::string& text, const std::error_code& code) {
  const std::string suffix = ": " + code.message();
  if (!text.ends_with(suffix)) return std::nullopt;
  return text.substr(0, text.size() - suffix.size());
}

// ---- families ----
// Each has
// write, for what the text does not tell, and read.

/// Made from a text.
template <class E>
struct from_text {
  static void write(writer&, const std::exception&) {}
  static std::exception_ptr read(reader& r, const std::string& text) {
    finish(r);
    return make<E>(text, text);
  }
};

/// Made from nothing, with a text of its own.
template <class E>
struct from_nothing {
  static void write(writer&, const std::exception&) {}
  static std::exception_ptr read(reader& r, const std::string& text) {
    finish(r);
    return make<E>(text);
  }
};

struct system_codec {
  static void write(writer& w, const std::exception& e) {
    write_code(w, dynamic_cast<const std::system_error&>(e).code());
  }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const std::error_code code = read_code(r);
    finish(r);
    if (const auto prefix = prefix_of(text, code)) return make<std::system_error>(text, code, *prefix);
    return make<std::system_error>(text, code);
  }
};

struct ios_codec {
  static void write(writer& w, const std::exception& e) { system_codec::write(w, e); }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const std::error_code code = read_code(r);
    finish(r);
    return make<std::ios_base::failure>(text, prefix_of(text, code).value_or(text), code);
  }
};

struct filesystem_codec {
  using error = std::filesystem::filesystem_error;
  static void write(writer& w, const std::exception& e) {
    const auto& f = dynamic_cast<const error&>(e);
    write_code(w, f.code());
    write_value(w, std::string(f.std::system_error::what()));  // without the paths
    write_value(w, f.path1());
    write_value(w, f.path2());
  }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const std::error_code code = read_code(r);
    const auto base_text = read_value<std::string>(r);
    const auto first = read_value<std::filesystem::path>(r);
    const auto second = read_value<std::filesystem::path>(r);
    finish(r);
    const std::string prefix = prefix_of(base_text, code).value_or(base_text);
    if (first.empty() && second.empty()) return make<error>(text, prefix, code);
    if (second.empty()) return make<error>(text, prefix, first, code);
    return make<error>(text, prefix, first, second, code);
  }
};

struct future_codec {
  static void write(writer& w, const std::exception& e) {
    write_value(w, dynamic_cast<const std::future_error&>(e).code().value());
  }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const auto value = read_value<int>(r);
    finish(r);
    return make<std::future_error>(text, static_cast<std::future_errc>(value));
  }
};

struct regex_codec {
  static void write(writer& w, const std::exception& e) {
    write_value(w, static_cast<int>(dynamic_cast<const std::regex_error&>(e).code()));
  }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const auto value = read_value<int>(r);
    finish(r);
    if (value < 0 || value > static_cast<int>(std::regex_constants::error_stack)) {
      wire::fail(r, "an error of regular expressions that there is not");
    }
    return make<std::regex_error>(text, static_cast<std::regex_constants::error_type>(value));
  }
};

struct remote_codec {
  static void write(writer& w, const std::exception& e) {
    write_value(w, dynamic_cast<const remote_exception&>(e).type_name());
  }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const auto type = read_value<std::string>(r);
    finish(r);
    return make<remote_exception>(text, type, text);
  }
};

struct exhausted_codec {
  static void write(writer& w, const std::exception& e) {
    const auto& exhausted = dynamic_cast<const resource_exhausted&>(e);
    write_code(w, exhausted.code());
    write_value(w, exhausted.operation());
  }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const std::error_code code = read_code(r);
    const auto operation = read_value<std::string>(r);
    finish(r);
    if (operation.empty()) return make<resource_exhausted>(text, text);
    const std::string start = operation + ": " + code.message() + "; ";
    const std::string advice = text.starts_with(start) ? text.substr(start.size()) : std::string();
    return make<resource_exhausted>(text, operation, code, advice);
  }
};

/// worker_died and its kin: made from a report, or from a text alone.
template <class E>
struct from_report {
  static void write(writer& w, const std::exception& e) { write_value(w, dynamic_cast<const E&>(e).report()); }
  static std::exception_ptr read(reader& r, const std::string& text) {
    const auto report = read_value<crash_report>(r);
    finish(r);
    if (text == report.to_string()) return make<E>(text, report);
    return make<E>(text, text);
  }
};

// ---- the table ----

struct known_exception {
  const std::type_info& type;
  const std::type_info& worded_type;  // one that has been here already
  void (*write)(writer&, const std::exception&);
  std::exception_ptr (*read)(reader&, const std::string& text);
};

template <class E, class Codec>
constexpr known_exception known{typeid(E), typeid(worded<E>), &Codec::write, &Codec::read};
template <class E>
constexpr known_exception texted = known<E, from_text<E>>;
template <class E>
constexpr known_exception plain = known<E, from_nothing<E>>;

// Both sides are the same build, so that an index means the same on both.
constexpr known_exception table[] = {
    texted<std::runtime_error>,
    texted<std::logic_error>,
    texted<std::invalid_argument>,
    texted<std::domain_error>,
    texted<std::length_error>,
    texted<std::out_of_range>,
    texted<std::range_error>,
    texted<std::overflow_error>,
    texted<std::underflow_error>,
    plain<std::exception>,
    plain<std::bad_alloc>,
    plain<std::bad_array_new_length>,
    plain<std::bad_cast>,
    plain<std::bad_typeid>,
    plain<std::bad_exception>,
    plain<std::bad_function_call>,
    plain<std::bad_optional_access>,
    plain<std::bad_variant_access>,
    plain<std::bad_any_cast>,
    plain<std::bad_weak_ptr>,
    known<std::system_error, system_codec>,
    known<std::ios_base::failure, ios_codec>,
    known<std::filesystem::filesystem_error, filesystem_codec>,
    known<std::future_error, future_codec>,
    known<std::regex_error, regex_codec>,
    texted<error>,
    texted<timed_out>,
    texted<cancelled>,
    texted<closed>,
    texted<broken_connection>,
    texted<authentication_failed>,
    texted<decode_error>,
    texted<unsafe_fork>,
    texted<not_initialised>,
    texted<owner_died>,
    texted<broken_barrier>,
    texted<unsupported>,
    known<resource_exhausted, exhausted_codec>,
    known<remote_exception, remote_codec>,
    known<worker_died, from_report<worker_died>>,
    known<worker_crashed, from_report<worker_crashed>>,
    known<worker_exited, from_report<worker_exited>>,
};

/// libstdc++ throws a class of its own, derived from std::ios_base::failure for the old ABI's sake.
constexpr const char* internal_ios_failure = "St13__ios_failure";

}  // namespace

std::optional<known_index> known_exception_index(const std::type_info& type) noexcept {
  const std::type_info& wanted =
      std::strcmp(type.name(), internal_ios_failure) == 0 ? typeid(std::ios_base::failure) : type;
  for (std::size_t i = 0; i < std::size(table); ++i) {
    if (table[i].type == wanted || table[i].worded_type == wanted) return static_cast<known_index>(i);
  }
  return std::nullopt;
}

void write_known_exception(writer& w, known_index index, const std::exception& e) { table[index].write(w, e); }

std::exception_ptr read_known_exception(reader& r, known_index index, const std::string& text) {
  if (index >= std::size(table)) wire::fail(r, "a kind of exception that there is not");
  return table[index].read(r, text);
}

}  // namespace tandem::detail
