// expect: a raw pointer cannot cross
// expect: refused<my::found, (tandem::detail::)?member<1>, const char\*
#include <tandem/process.hpp>

namespace my {
struct found {
  int line;
  const char* text;
};
}  // namespace my

my::found find() { return {}; }

void start() { tandem::process p(find); }
