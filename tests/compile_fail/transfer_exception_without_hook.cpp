// expect: write a hook
// expect: refused<my::failure>
#include <stdexcept>

#include <tandem/transfer.hpp>

namespace my {
struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
}  // namespace my

void start() { tandem::register_exception<my::failure>(); }
