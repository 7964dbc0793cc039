// expect: pass the function as what is called
// expect: refused<my::job, (tandem::detail::)?member<2>, void ?\(\*\)\(int\)>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  void (*call)(int);
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
