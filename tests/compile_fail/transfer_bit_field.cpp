// expect: bit-field
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  unsigned flags : 3;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
