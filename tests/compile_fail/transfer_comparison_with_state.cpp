// expect: comparison or hash of this container has state
// expect: member<2>, std::set<int, bool ?\(\*\)\(int, int\)
#include <set>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::set<int, bool (*)(int, int)> numbers;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
