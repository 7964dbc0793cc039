// expect: a lock of the standard library works in one process only: keep it out
// expect: refused<my::job, (tandem::detail::)?member<2>, std::shared_mutex>
#include <shared_mutex>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::shared_mutex guard;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
