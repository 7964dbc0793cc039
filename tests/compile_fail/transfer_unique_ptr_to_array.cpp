// expect: does not know its length: use std::vector
// expect: member<2>, std::unique_ptr<int ?\[\](, .*)?>
#include <memory>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::unique_ptr<int[]> numbers;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
