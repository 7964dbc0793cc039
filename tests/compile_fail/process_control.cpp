// compiles
#include <tandem/process.hpp>

int square(int n) { return n * n; }

int start() {
  tandem::process p(square, 3);
  tandem::process q([](std::stop_token, const char* text) { return std::string(text); }, "text");
  return p.get() + static_cast<int>(q.get().size());
}
