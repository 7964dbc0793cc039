// expect: then\(\) calls its function with what the task gives
#include <string>

#include <tandem/thread_pool.hpp>

void run(tandem::future<int> f) {
  f.then([](std::string) {});
}
