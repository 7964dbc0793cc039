// expect: a raw pointer cannot cross
#include <tandem/process.hpp>

int follow(int* p) { return *p; }

void start(int& n) { tandem::process p(follow, &n); }
