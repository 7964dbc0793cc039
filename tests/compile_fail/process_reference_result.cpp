// expect: a process cannot return a reference
#include <tandem/process.hpp>

int number = 0;
int& reference() { return number; }

void start() { tandem::process p(reference); }
