// expect: a pointer to member cannot live
// expect: unshareable<my::state, (tandem::detail::)?member<0>, int my::point::\*>

#include <tandem/shared.hpp>

namespace my {
struct point {
  int x;
};
struct state {
  int point::*which;
};
}  // namespace my

tandem::shared<my::state> s;
