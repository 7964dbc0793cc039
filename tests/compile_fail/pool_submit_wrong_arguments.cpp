// expect: this function cannot be called with these arguments
#include <string>

#include <tandem/thread_pool.hpp>

int length(int n) { return n; }

void run(tandem::thread_pool& pool) { pool.submit(length, std::string("three")); }
