// expect: belong to one process
// expect: refused<my::job, (tandem::detail::)?member<2>, std::thread>
#include <thread>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::thread t;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
