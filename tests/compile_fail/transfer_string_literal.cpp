// expect: use std::array \(for text, std::string\)
// expect: refused<char ?\[5\]>
#include <tandem/transfer.hpp>

auto bytes() { return tandem::encode("text"); }
