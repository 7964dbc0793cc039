// expect: make it an aggregate, or write a hook
// expect: refused<my::job, (tandem::detail::)?member<2>, my::secret>
#include <tandem/transfer.hpp>

namespace my {
class secret {
  int x = 0;

 public:
  int get() const { return x; }
};
struct job {
  int number;
  double weight;
  secret s;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
