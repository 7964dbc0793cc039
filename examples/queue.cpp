// Numbers go through a queue to two processes, which square them into another; then large frames are made and read in the
// queue itself, without a copy. Prints the same each time.
#include <array>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include <tandem/tandem.hpp>

namespace {

// snippet: worker
void square(const tandem::queue<int>& numbers, const tandem::queue<long>& squares) {
  for (const int n : numbers) squares.push(long{n} * n);  // until it is closed, and all was popped
}
// snippet end

using frame = std::array<int, 100'000>;

// snippet: loan
void produce(const tandem::queue<frame>& frames) {
  for (int i = 1; i <= 3; ++i) {
    auto next = frames.loan();  // a place in the queue
    next->fill(i);
    next.push();
  }
  frames.close();
}
long consume(const tandem::queue<frame>& frames) {
  long sum = 0;
  while (const auto next = frames.view()) sum = std::accumulate((*next)->begin(), (*next)->end(), sum);
  return sum;
}
// snippet end

}  // namespace

int main() {
  tandem::init();

  // snippet: host
  const tandem::queue<int> numbers(16);
  const tandem::queue<long> squares(16);
  std::vector<tandem::process<void>> workers;
  for (int i = 0; i < 2; ++i) workers.emplace_back(square, numbers, squares);  // handles of the same two queues

  long sum = 0;
  for (int n = 1; n <= 100; ++n) {
    numbers.push(n);
    while (const auto one = squares.try_pop()) sum += *one;
  }
  numbers.close();
  for (auto& worker : workers) {
    while (!worker.join_for(std::chrono::milliseconds(1))) {
      while (const auto one = squares.try_pop()) sum += *one;
    }
  }
  while (const auto one = squares.try_pop()) sum += *one;
  fmt::print("sum {}\n", sum);
  // snippet end

  const tandem::queue<frame> frames(2);
  tandem::process producer(produce, frames);
  fmt::print("frames {}\n", consume(frames));
}
