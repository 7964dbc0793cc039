// expect: anonymous union member
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  union {
    int i;
    float f;
  };
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
