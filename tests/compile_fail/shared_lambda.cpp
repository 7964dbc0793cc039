// expect: a lambda with captures cannot live
// expect: unshareable<

#include <tandem/shared.hpp>

inline auto make(int n) {
  return [n] { return n; };
}

tandem::shared_array<decltype(make(1))> a(1);
