// expect: std::function hides what it holds
// expect: member<2>, std::function<void ?\(\)>>
#include <functional>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::function<void()> f;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
