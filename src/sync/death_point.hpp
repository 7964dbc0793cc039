#pragma once
// Named places between two steps in shared memory, where a test can end the process. Built with TANDEM_FAULTS; without
// it they are nothing.
namespace tandem::sync {

#if defined(TANDEM_FAULTS)
/// In this process, the `nth` time (from 1) that it comes to that place: calls `action`.
void arm_death_point(const char* name, int nth, void (*action)()) noexcept;
void death_point(const char* name) noexcept;
#else
constexpr void death_point(const char*) noexcept {}
#endif

}  // namespace tandem::sync
