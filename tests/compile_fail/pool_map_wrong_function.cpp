// expect: this function cannot be called with an element of this range
#include <string>
#include <vector>

#include <tandem/thread_pool.hpp>

int length(const std::string& s) { return static_cast<int>(s.size()); }

void run(tandem::thread_pool& pool) { pool.map(length, std::vector<int>{1, 2}); }
