// expect: transferable
// expect: refused<my::job, (tandem::detail::)?member<1>, int\*>
#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  int* where;
};
}  // namespace my

template <tandem::transferable T>
class queue {};

queue<my::job> q;
