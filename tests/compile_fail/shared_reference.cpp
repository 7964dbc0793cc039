// expect: a reference .or std::reference_wrapper. cannot live
// expect: unshareable<my::state>

#include <tandem/shared.hpp>

namespace my {
struct state {
  int number;
  int& where;
};
}  // namespace my

bool ask(const tandem::shared<my::state>& s) { return *s.get() == 1; }
tandem::shared_array<my::state> a(1);
