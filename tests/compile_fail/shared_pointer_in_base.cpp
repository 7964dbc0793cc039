// expect: a raw pointer cannot live in shared memory
// expect: unshareable<my::state, .*member<0>, my::derived>

#include <tandem/shared.hpp>

namespace my {
struct base {
  int n;
  int* p;
};
struct derived : base {
  int z;
};
struct state {
  derived d;
};
}  // namespace my

tandem::shared<my::state> s;
