// expect: make it an aggregate, or write a hook
// expect: refused<my::job, (tandem::detail::)?member<2>, my::made>
#include <tandem/transfer.hpp>

namespace my {
struct made {
  explicit made(int);
  int x;
};
struct job {
  int number;
  double weight;
  made m;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
