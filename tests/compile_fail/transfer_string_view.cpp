// expect: pass a std::string or a std::vector
// expect: refused<my::job, (tandem::detail::)?member<2>, std::basic_string_view<char(, .*)?>
#include <string_view>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::string_view text;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
