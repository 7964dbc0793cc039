// expect: a raw pointer cannot cross.*or a std::unique_ptr to it
// expect: refused<my::job, (tandem::detail::)?member<2>, int\*>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  int* where;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
