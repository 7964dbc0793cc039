// expect: a raw pointer cannot cross
// expect: member<2>, (std::)?nullptr_t>
#include <cstddef>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::nullptr_t nothing;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
