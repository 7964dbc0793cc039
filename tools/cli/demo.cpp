#include "demo.hpp"

#include <atomic>
#include <cstdlib>
#include <string>

#include <fmt/core.h>

#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/this_worker.hpp>
#include <tandem/thread.hpp>

#include "output.hpp"

namespace cli {

namespace {

std::atomic<int> count = 0;

void worker(int number) {
  ++count;
  print(fmt::format("Worker {} is running\n", number));
}

void crash() { std::abort(); }

struct ids {
  int processes[2];
  int threads[2];
};

ids run() {
  tandem::init();
  tandem::process first_process(worker, 1);
  tandem::process second_process(worker, 2);
  tandem::thread first_thread(worker, 1);
  tandem::thread second_thread(worker, 2);
  const ids started = {{first_process.id(), second_process.id()}, {first_thread.id(), second_thread.id()}};

  first_process.join();
  second_process.join();
  first_thread.join();
  second_thread.join();

  // Whose line could not be written says so here.
  first_process.get();
  second_process.get();
  first_thread.get();
  second_thread.get();
  print("All processes and threads have finished\n");
  return started;
}

std::string how_a_crash_ends() {
  tandem::process doomed({.name = "doomed"}, crash);
  try {
    doomed.get();
  } catch (const tandem::worker_crashed& e) {
    return e.report().status.to_string();
  }
  return "not at all";
}

}  // namespace

void demo() { run(); }

void demo_explained() {
  const auto [processes, threads] = run();
  print(fmt::format("The processes were {} and {}; the threads, {} and {}, were inside this program, {}.\n",
                    processes[0], processes[1], threads[0], threads[1], tandem::this_worker::id()));
  print(fmt::format("Each added 1 to the same variable, which is now {}: each process had its own copy.\n",
                    count.load()));
  print(fmt::format("A process that crashed was {}; this program goes on.\n", how_a_crash_ends()));
}

}  // namespace cli
