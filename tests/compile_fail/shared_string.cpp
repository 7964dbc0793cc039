// expect: keeps what it holds in the memory of one process: use
// expect: unshareable<my::state, (tandem::detail::)?member<1>, std::(__cxx11::)?basic_string<char
#include <string>

#include <tandem/shared.hpp>

namespace my {
struct state {
  int number;
  std::string name;
};
}  // namespace my

tandem::shared<my::state> s;
