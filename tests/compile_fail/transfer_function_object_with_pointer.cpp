// expect: a raw pointer cannot cross
// expect: refused<callable, (tandem::detail::)?member<0>, int\*>
#include <tandem/detail/transfer_callable.hpp>

struct callable {
  int* p;
  void operator()() const {}
};

void call() { tandem::detail::require_callable<callable>(); }
