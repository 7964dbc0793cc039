// expect: a raw pointer cannot live
// expect: unshareable<my::state, (tandem::detail::)?member<0>, char\* ?\[4\], (tandem::detail::)?element, char\*>

#include <tandem/shared.hpp>

namespace my {
struct state {
  char* names[4];
};
}  // namespace my

tandem::shared_array<my::state> s(3);
