// expect: cannot cross without what it looks at
// expect: refused<my::job, (tandem::detail::)?member<2>, std::span<const int(, .*)?>>
#include <span>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::span<const int> numbers;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
