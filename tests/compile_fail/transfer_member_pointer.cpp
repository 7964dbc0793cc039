// expect: pointer to member cannot cross
// expect: refused<my::job, (tandem::detail::)?member<2>, int ?my::other::\*>
#include <tandem/transfer.hpp>

namespace my {
struct other {
  int x;
};
struct job {
  int number;
  double weight;
  int other::*m;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
