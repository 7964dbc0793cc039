// expect: a view .std::string_view, std::span. cannot live
// expect: unshareable<my::state, (tandem::detail::)?member<1>, std::basic_string_view<char
#include <string_view>

#include <tandem/shared.hpp>

namespace my {
struct state {
  int number;
  std::string_view name;
};
}  // namespace my

tandem::shared<my::state> s;
