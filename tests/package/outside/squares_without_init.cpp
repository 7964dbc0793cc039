#include <iostream>
#include <thread>

#include <tandem/process.hpp>

int square(int number) { return number * number; }

// A main that cannot be edited: when it starts a process, another thread is there already, so that only a fork server
// made before main can serve it.
int main() {
  std::stop_source stop;
  std::jthread other([token = stop.get_token()] {
    while (!token.stop_requested()) std::this_thread::yield();
  });
  tandem::process p(square, 7);
  const int value = p.get();
  stop.request_stop();
  std::cout << "process " << value << '\n';
  return value == 49 ? 0 : 1;
}
