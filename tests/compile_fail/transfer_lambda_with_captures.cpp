// expect: pass the captured values as arguments to a lambda without captures
// expect: refused<.*lambda
#include <tandem/detail/transfer_callable.hpp>

void call(int n) {
  const auto lambda = [n] { return n; };
  tandem::writer w;
  tandem::detail::write_callable(w, lambda);
}
