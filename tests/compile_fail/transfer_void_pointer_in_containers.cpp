// expect: a raw pointer cannot cross
// expect: refused<my::job, (tandem::detail::)?member<2>, std::vector<.*element, std::map<.*member<1>, void\*>
#include <map>
#include <vector>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::vector<std::map<int, void*>> table;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
