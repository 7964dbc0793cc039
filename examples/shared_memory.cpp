// One array, written by processes and read by this one; one total, under its own lock; and a table that a process can
// only read. Prints the same however many CPUs there are.
#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include <tandem/tandem.hpp>

namespace {

struct totals {
  long sum = 0;
  int parts = 0;
};

// snippet: worker
void square(tandem::shared_array<long> numbers, std::size_t from, std::size_t to, tandem::shared<totals> all) {
  long sum = 0;
  for (long& n : numbers.span().subspan(from, to - from)) {
    n *= n;
    sum += n;
  }
  all.with([&](totals& t) {  // one at a time
    t.sum += sum;
    ++t.parts;
  });
}
// snippet end

}  // namespace

int main() {
  tandem::init();

  // snippet: host
  tandem::shared_array<long> numbers(1'000'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers.span()[i] = static_cast<long>(i);
  tandem::shared<totals> all;

  std::vector<tandem::process<void>> workers;
  for (std::size_t i = 0; i < 4; ++i)
    workers.emplace_back(square, numbers, i * 250'000, (i + 1) * 250'000, all);  // handles: nothing is copied
  for (auto& worker : workers) worker.get();

  fmt::print("{} parts, sum {}, last {}\n", all->parts, all->sum, numbers.span().back());
  // snippet end

  // snippet: reader
  const tandem::shared_array<const long> table = numbers.read_only();
  tandem::process reader([](tandem::shared_array<const long> t) { return t.span()[12]; }, table);
  fmt::print("read {}\n", reader.get());
  // snippet end
}
