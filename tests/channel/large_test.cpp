// A message that is larger than 4 GiB, between two processes: whole, and without memory beyond the message itself.
#include <sys/resource.h>

#include <cstring>
#include <fstream>

#include "channel/samples.hpp"
#include "support/fixture.hpp"

namespace {

using namespace tandem::literals;
using tandem::test::bytes;

class large_messages : public tandem::test::checked {};

constexpr std::size_t large = 5_GiB;

std::uint64_t checksum(std::span<const std::byte> all) {
  std::uint64_t sum = 14695981039346656037U;
  for (std::size_t i = 0; i + 8 <= all.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, all.data() + i, 8);
    sum = (sum ^ word) * 1099511628211U;
  }
  return sum;
}

std::size_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) << 10;
}

std::size_t available_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  std::size_t kib = 0;
  for (std::string rest; meminfo >> key >> kib && std::getline(meminfo, rest);) {
    if (key == "MemAvailable:") return kib << 10;
  }
  return 0;
}

struct seen {
  std::size_t size = 0;
  std::uint64_t sum = 0;
  std::size_t peak = 0;
};

TEST_F(large_messages, of_five_gib_go_through_a_duplex_pipe) {
  if (available_bytes() < 2 * large + 1_GiB) GTEST_SKIP() << "needs 11 GiB of memory";
  const tandem::test::watchdog longer(230);  // where a page costs 10 µs, these take a minute
  auto [here, there] = tandem::make_duplex<std::vector<std::uint64_t>, seen>();
  tandem::process p(
      [](const tandem::connection<seen, std::vector<std::uint64_t>>& c) {
        const auto got = c.receive();
        c.send({got->size(), checksum(std::as_bytes(std::span(*got))), peak_bytes()});
      },
      std::move(there));
  there.close();
  std::vector<std::uint64_t> words(large / 8);
  std::uint64_t state = 1;
  for (auto& word : words) word = state = state * 6364136223846793005U + 1442695040888963407U;
  const std::uint64_t sum = checksum(std::as_bytes(std::span(words)));
  here.send(words);
  const auto got = here.receive();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->size, words.size());
  EXPECT_EQ(got->sum, sum);
  EXPECT_LT(got->peak, large + large / 10);
  EXPECT_LT(peak_bytes(), large + large / 10);
  std::printf("peak resident memory: sender %.2f GiB, receiver %.2f GiB, message %.2f GiB\n",
              static_cast<double>(peak_bytes()) / static_cast<double>(1_GiB),
              static_cast<double>(got->peak) / static_cast<double>(1_GiB),
              static_cast<double>(large) / static_cast<double>(1_GiB));
}

}  // namespace
