// expect: make it an aggregate, or write a hook
// expect: refused<my::job, (tandem::detail::)?member<2>, my::shape>
#include <tandem/transfer.hpp>

namespace my {
struct shape {
  virtual void draw() {}
};
struct job {
  int number;
  double weight;
  shape s;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
