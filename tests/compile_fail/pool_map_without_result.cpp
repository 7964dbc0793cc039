// expect: map\(\) gives results, and this function has none
#include <vector>

#include <tandem/thread_pool.hpp>

void run(tandem::thread_pool& pool) {
  pool.map([](int) {}, std::vector<int>{1, 2});
}
