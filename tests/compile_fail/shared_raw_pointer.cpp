// expect: a raw pointer cannot live in shared memory.*an index into a shared_array
// expect: unshareable<my::state, (tandem::detail::)?member<1>, int\*>

#include <tandem/shared.hpp>

namespace my {
struct state {
  int number;
  int* where;
};
}  // namespace my

tandem::shared<my::state> s;
