// expect: pass the number that it holds
// expect: refused<my::job, (tandem::detail::)?member<2>, std::atomic<int>>
#include <atomic>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::atomic<int> count;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
