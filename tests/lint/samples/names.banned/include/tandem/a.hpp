#pragma once
#include <util.hpp>
namespace tandem {
class pool_manager {};
void handle_death();
struct worker_info {};
struct crash_info {};
int native_handle();
int handle_;
inline auto f(const std::vector<int>& v) { return v.data(); }
const std::type_info& t();
// manager of data
using ByteData = int;
int database();
}  // namespace tandem
