// expect: a class that is not trivially copyable.*specialise tandem::enable_shared
// expect: unshareable<my::state, (tandem::detail::)?member<1>, my::keeper>

#include <tandem/shared.hpp>

namespace my {
class keeper {
 public:
  keeper() = default;
  keeper(const keeper&) {}

 private:
  int n_ = 0;
};
struct state {
  int number;
  keeper k;
};
}  // namespace my

tandem::shared<my::state> s;
