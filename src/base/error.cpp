#include <tandem/error.hpp>

namespace tandem {

namespace {

std::string exhausted_text(const std::string& operation, std::error_code code, const std::string& advice) {
  std::string text = operation + ": " + code.message();
  if (!advice.empty()) text += "; " + advice;
  return text;
}

}  // namespace

worker_died::worker_died(crash_report report)
    : error(report.to_string()), report_(std::make_shared<const crash_report>(std::move(report))) {}

const crash_report& worker_died::report() const noexcept {
  static const crash_report unknown{};
  return report_ ? *report_ : unknown;
}

remote_exception::remote_exception(const std::string& type_name, const std::string& what)
    : error(what), type_name_(std::make_shared<const std::string>(type_name)) {}

const std::string& remote_exception::type_name() const noexcept {
  static const std::string unknown;
  return type_name_ ? *type_name_ : unknown;
}

resource_exhausted::resource_exhausted(const std::string& operation, std::error_code code, const std::string& advice)
    : error(exhausted_text(operation, code, advice)),
      code_(code),
      operation_(std::make_shared<const std::string>(operation)) {}

const std::string& resource_exhausted::operation() const noexcept {
  static const std::string unknown;
  return operation_ ? *operation_ : unknown;
}

}  // namespace tandem
