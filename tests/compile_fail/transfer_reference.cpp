// expect: has a member that is a reference
// expect: refused<my::job>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  const int& watched;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
