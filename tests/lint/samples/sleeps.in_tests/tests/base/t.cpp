#include <thread>
void a() { std::this_thread::sleep_for(std::chrono::seconds(1)); }
void b() { usleep(1); }
void c() { sleep(100); }  // lint: sleep until the test kills this process
// lint: sleep
void d() { ::nanosleep(nullptr, nullptr); }
// sleep(1) in a comment
const char* e = "sleep(1)";
bool asleep(int);
bool f = asleep(1);
