// expect: make it an aggregate, or write a hook
// expect: refused<my::job, (tandem::detail::)?member<2>, std::any>
#include <any>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::any value;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
