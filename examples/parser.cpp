// A parser that nobody trusts, over inputs that nobody checked: on some it aborts, on one it never ends. A pool of processes
// gets through all of them; each one that goes wrong costs itself.
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tandem/init.hpp>
#include <tandem/process_pool.hpp>

namespace {

using namespace std::chrono_literals;

/// Adds up the numbers of "1 + (2 + 3)". It has the faults that such parsers have.
class parser {
 public:
  explicit parser(const std::string& text) : at_(text.c_str()) {}
  long sum() {
    long total = 0;
    for (;;) {
      while (*at_ == ' ' || *at_ == '+') ++at_;
      if (*at_ == '\0') return total;
      if (*at_ == '(') {
        ++at_;
        ++depth_;
        total += sum();
      } else if (*at_ == ')') {
        if (--depth_ < 0) std::abort();  // "this cannot happen"
        ++at_;
        return total;
      } else if (*at_ == '"') {
        for (const volatile char* end = at_ + 1; *end != '"';) end += *end != '\0';  // a string that is never closed
        throw std::invalid_argument("a string is no number");
      } else if (std::isdigit(static_cast<unsigned char>(*at_)) != 0) {
        char* end = nullptr;
        total += std::strtol(at_, &end, 10);
        at_ = end;
      } else {
        throw std::invalid_argument(fmt::format("'{}' is no number", *at_));
      }
    }
  }

 private:
  const char* at_;
  int depth_ = 0;
};

// snippet: parse
long parse(const std::string& text) { return parser(text).sum(); }

void parse_all(const std::vector<std::string>& inputs) {
  tandem::process_pool pool({.workers = 2, .stop_grace = 50ms, .kill_grace = 50ms});
  std::vector<tandem::future<long>> results;
  for (const std::string& text : inputs) {
    results.push_back(pool.submit({.name = text, .deadline = 500ms}, parse, text));
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    try {
      fmt::print("{} = {}\n", inputs[i], results[i].get());
    } catch (const tandem::worker_died& e) {  // it took its worker with it, and nobody else
      fmt::print("{}: {}\n", e.report().task, e.report().status.to_string());
    } catch (const tandem::timed_out&) {
      fmt::print("{}: does not end\n", inputs[i]);
    } catch (const std::invalid_argument& e) {
      fmt::print("{}: {}\n", inputs[i], e.what());
    }
  }
}
// snippet end

}  // namespace

int main() {
  tandem::init();
  parse_all({"1 + 2", "(1 + (2 + 3)) + 4", "1 + 2) + 3", "1 + two", "\"1 + 2", "7", "))", "20 + 22"});
}
