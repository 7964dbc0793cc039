// expect: drop the volatile
// expect: refused<my::job, (tandem::detail::)?member<2>, volatile int>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  volatile int flag;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
