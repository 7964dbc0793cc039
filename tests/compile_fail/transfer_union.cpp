// expect: use std::variant, or write a hook
// expect: refused<my::job, (tandem::detail::)?member<2>, my::number>
#include <tandem/transfer.hpp>

namespace my {
union number {
  int i;
  float f;
};
struct job {
  int count;
  double weight;
  my::number n;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
