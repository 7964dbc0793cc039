// expect: this function cannot be called with these arguments
#include <tandem/process.hpp>

int length(int n) { return n; }

void start() { tandem::process p(length, std::string("three")); }
