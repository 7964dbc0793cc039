// expect: a reference \(or std::reference_wrapper\) cannot cross
#include <tandem/process.hpp>

void add(int& n) { ++n; }

void start(int& n) { tandem::process p(add, std::ref(n)); }
