// expect: pass the container itself
// expect: member<2>, std::stack<int
#include <stack>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::stack<int> numbers;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
