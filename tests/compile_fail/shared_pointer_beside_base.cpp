// expect: a raw pointer cannot live in shared memory
// expect: unshareable<my::derived>

#include <tandem/shared.hpp>

namespace my {
struct base {};
struct derived : base {
  int z;
  int (*f)();
};
}  // namespace my

tandem::shared<my::derived> s;
