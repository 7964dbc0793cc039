// expect: a lock of the standard library works in one process only: use its namesake
// expect: unshareable<my::state, (tandem::detail::)?member<1>, std::mutex>
#include <mutex>

#include <tandem/shared.hpp>

namespace my {
struct state {
  int number;
  std::mutex lock;
};
}  // namespace my

tandem::shared<my::state> s;
