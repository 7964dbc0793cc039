// expect: a view \(std::string_view
#include <tandem/process.hpp>

std::size_t length(std::string_view s) { return s.size(); }

void start(std::string_view s) { tandem::process p(length, s); }
