// expect: tandem: .*pointer
#include <tandem/process_pool.hpp>

int first(const int* n) { return *n; }

void run(tandem::process_pool& pool, const int& n) { pool.submit(first, &n); }
