// expect: may hold a class derived from it
// expect: member<2>, std::unique_ptr<my::shape(, .*)?>
#include <memory>

#include <tandem/transfer.hpp>

namespace my {
struct shape {
  virtual ~shape() = default;
};
struct job {
  int number;
  double weight;
  std::unique_ptr<shape> p;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
