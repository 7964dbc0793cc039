// expect: a view .std::string_view, std::span. cannot live
// expect: unshareable<std::span<int
#include <span>

#include <tandem/shared.hpp>

tandem::shared<std::span<int>> s;
