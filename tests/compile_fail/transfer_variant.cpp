// expect: a raw pointer cannot cross
// expect: member<2>, std::variant<int, int\*>, (tandem::detail::)?member<1>, int\*>
#include <variant>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::variant<int, int*> v;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
