// expect: std::reference_wrapper\) cannot cross
// expect: refused<my::job, (tandem::detail::)?member<2>, std::reference_wrapper<int>>
#include <functional>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::reference_wrapper<int> r;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
