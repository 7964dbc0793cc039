// expect: a raw pointer cannot cross
// expect: refused<int\*>
#include <tandem/transfer.hpp>

int* pointer(std::span<const std::byte> bytes) { return tandem::decode<int*>(bytes); }
