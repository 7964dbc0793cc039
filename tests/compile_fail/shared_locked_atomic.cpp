// expect: this atomic is not lock-free
// expect: unshareable<std::atomic<my::big>>
#include <atomic>

#include <tandem/shared.hpp>

namespace my {
struct big {
  long all[8];
};
}  // namespace my

tandem::shared<std::atomic<my::big>> s;
