// expect: a raw pointer cannot cross
// expect: refused<my::job, (tandem::detail::)?member<2>, my::inner, (tandem::detail::)?member<1>, char\*>
#include <string>

#include <tandem/transfer.hpp>

namespace my {
struct inner {
  int a;
  char* b;
};
struct job {
  int number;
  double weight;
  inner in;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
