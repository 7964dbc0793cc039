// compiles
#include <tandem/detail/transfer_callable.hpp>

void call() {
  tandem::detail::require_callable<void (*)(int)>();
  const auto lambda = [](int x) { return x; };
  tandem::writer w;
  tandem::detail::write_callable(w, lambda);
}
