// expect: an argument is passed by value, and this one cannot be copied
#include <memory>

#include <tandem/process.hpp>

int value_of(std::unique_ptr<int> number) { return *number; }

void start(std::unique_ptr<int> number) { tandem::process p(value_of, number); }
