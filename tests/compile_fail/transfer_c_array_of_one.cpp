// expect: use std::array
// expect: refused<my::job, (tandem::detail::)?member<2>, int ?\[1\]>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  int one[1];
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
