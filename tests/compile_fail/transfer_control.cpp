// compiles
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <tandem/transfer.hpp>

namespace my {
struct job {
  int number;
  double weight;
  std::vector<std::map<std::string, std::unique_ptr<job>>> all;
};
}  // namespace my

auto bytes(const my::job& j) { return tandem::encode(j); }
my::job back(std::span<const std::byte> bytes) { return tandem::decode<my::job>(bytes); }
