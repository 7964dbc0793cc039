// expect: cannot cross without what it looks at
// expect: refused<my::job, (tandem::detail::)?member<2>, std::initializer_list<int>>
#include <initializer_list>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::initializer_list<int> numbers;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
