// expect: a raw pointer cannot cross
// expect: refused<my::job, (tandem::detail::)?member<2>, const char\*>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  const char* text;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
