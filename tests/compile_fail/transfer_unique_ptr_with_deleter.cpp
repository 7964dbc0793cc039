// expect: with a deleter of its own
// expect: std::unique_ptr<int, my::closer>
#include <memory>

#include <tandem/transfer.hpp>

namespace my {
struct closer {
  void operator()(int*) const {}
};
struct job {
  int number;
  double weight;
  std::unique_ptr<int, closer> p;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
