// expect: for_each\(\) cannot call this function with an element of this range
#include <string>
#include <vector>

#include <tandem/thread_pool.hpp>

void run(tandem::thread_pool& pool) {
  pool.for_each([](std::string) {}, std::vector<int>{1, 2});
}
