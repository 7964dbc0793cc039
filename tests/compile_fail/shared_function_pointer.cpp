// expect: a function pointer cannot live
// expect: unshareable<my::state, (tandem::detail::)?member<0>, (int ?\(\*\)\(int\))>

#include <tandem/shared.hpp>

namespace my {
struct state {
  int (*f)(int);
};
}  // namespace my

tandem::shared<my::state> s;
