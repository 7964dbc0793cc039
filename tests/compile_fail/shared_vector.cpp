// expect: keeps what it holds in the memory of one process: use
// expect: unshareable<std::vector<int
#include <vector>

#include <tandem/shared.hpp>

tandem::shared_array<std::vector<int>> s(2);
