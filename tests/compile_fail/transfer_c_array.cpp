// expect: use std::array \(for text, std::string\)
// expect: refused<my::job>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  char name[16];
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
