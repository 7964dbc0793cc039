// expect: a raw pointer cannot live in shared memory
// expect: unshareable<my::state, .*member<1>, my::either>

#include <tandem/shared.hpp>

namespace my {
union either {
  int* p;
  long n;
};
struct state {
  int n;
  either e;
};
}  // namespace my

tandem::shared<my::state> s;
