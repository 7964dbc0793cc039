// expect: a lambda with captures cannot cross: pass the captured values as arguments
#include <tandem/process.hpp>

int start(int n) {
  tandem::process p([n] { return n; });
  return p.get();
}
