// expect: this function cannot be called with these arguments
#include <tandem/thread.hpp>

int length(int n) { return n; }

void start() { tandem::thread t(length, std::string("three")); }
