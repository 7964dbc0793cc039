// expect: share an object within one process only
// expect: refused<my::job, (tandem::detail::)?member<2>, std::shared_ptr<int>>
#include <memory>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::shared_ptr<int> p;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
