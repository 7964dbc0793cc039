// expect: a class with virtual functions cannot live
// expect: unshareable<my::base>

#include <tandem/shared.hpp>

namespace my {
class base {
 public:
  virtual int f() { return 1; }
};
}  // namespace my

tandem::shared<my::base> s;
