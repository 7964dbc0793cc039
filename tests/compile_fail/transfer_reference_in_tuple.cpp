// expect: a reference .*cannot cross to another process
// expect: member<2>, std::tuple<int&>, (tandem::detail::)?member<0>, int&>
#include <tuple>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::tuple<int&> t;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
