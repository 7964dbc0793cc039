// expect: a reference .or std::reference_wrapper. cannot live
// expect: unshareable<std::tuple<int, const int&>, (tandem::detail::)?member<1>, const int&>
#include <tuple>

#include <tandem/shared.hpp>

tandem::shared_array<std::tuple<int, const int&>> s(1);
