// Two processes and two threads run one function. The README shows this program.
// snippet: program
#include <fmt/core.h>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/thread.hpp>

int worker(int number) {
  fmt::print("Worker {} is running\n", number);
  return number * number;
}

int main() {
  tandem::init();  // first line: starts the fork server, from which the processes are cloned

  tandem::process first_process(worker, 1);
  tandem::process second_process(worker, 2);
  tandem::thread first_thread(worker, 1);
  tandem::thread second_thread(worker, 2);

  first_process.join();
  second_process.join();
  first_thread.join();
  second_thread.join();
  fmt::print("All processes and threads have finished\n");

  // What the function returned is there, whichever way it ran.
  return first_process.get() == first_thread.get() && second_process.get() == second_thread.get() ? 0 : 1;
}
// snippet end
