// expect: make the base a member, or write a hook
// expect: refused<my::job, (tandem::detail::)?member<2>, my::derived>
#include <tandem/transfer.hpp>

namespace my {
struct base {
  int a;
};
struct derived : base {
  int b;
};
struct job {
  int number;
  double weight;
  derived d;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
