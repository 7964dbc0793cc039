// Runs what fuzzing found through the same function, without a fuzzer.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

TEST(fuzz, corpus) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TANDEM_FUZZ_CORPUS)) {
    SCOPED_TRACE(entry.path());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const std::vector<std::uint8_t> input(text.begin(), text.end());
    LLVMFuzzerTestOneInput(input.data(), input.size());
    // And what is near it.
    for (std::size_t size = 0; size < input.size(); ++size) LLVMFuzzerTestOneInput(input.data(), size);
    ++files;
  }
  EXPECT_GT(files, 0U);
}

}  // namespace
