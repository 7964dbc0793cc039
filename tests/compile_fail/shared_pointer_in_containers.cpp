// expect: a raw pointer cannot live
// expect: unshareable<my::state, .*member<0>, std::tuple<.*member<1>, std::optional<.*element, std::array<.*element, .*void\*>
#include <array>
#include <optional>
#include <tuple>

#include <tandem/shared.hpp>

namespace my {
struct state {
  std::tuple<int, std::optional<std::array<void*, 2>>> all;
};
}  // namespace my

tandem::shared<my::state> s;
