// expect: a raw pointer cannot live
// expect: unshareable<my::state, (tandem::detail::)?member<2>, my::inner, (tandem::detail::)?member<1>, char\*>

#include <tandem/shared.hpp>

namespace my {
struct inner {
  char name[16];
  char* more;
};
struct state {
  int number;
  double weights[8];
  inner in;
};
}  // namespace my

tandem::shared<my::state> s;
