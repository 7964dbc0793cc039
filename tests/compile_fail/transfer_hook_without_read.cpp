// expect: this specialisation of tandem::transfer needs both
// expect: refused<my::job>
#include <tandem/transfer.hpp>

namespace my {
class job {
 public:
  job() {}
};
}  // namespace my

template <>
struct tandem::transfer<my::job> {
  static void write(writer&, const my::job&) {}
};

auto bytes(const my::job& j) { return tandem::encode(j); }
