#include <iostream>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/thread.hpp>

int square(int number) { return number * number; }

int main() {
  tandem::init();
  tandem::process p(square, 7);
  tandem::thread t(square, 9);
  const int from_process = p.get();
  const int from_thread = t.get();
  std::cout << "process " << from_process << ", thread " << from_thread << '\n';
  return from_process == 49 && from_thread == 81 ? 0 : 1;
}
