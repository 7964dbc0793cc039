// expect: use std::array
// expect: refused<my::job>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  char page[1 << 20];
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
