// expect: a raw pointer cannot cross
// expect: refused<my::job, (tandem::detail::)?member<3>, int\*>
#include <vector>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::vector<job> kids;
  int* p;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
