#pragma once
// What the layers above report to.
#include <string_view>

#include <tandem/observe.hpp>

namespace tandem::observe {

/// Hands a message to the receiver of on_log, or in a worker to the forwarder. Never throws, never loses the caller's
/// errno.
void log(log_level, std::string_view text) noexcept;

/// In a worker: where messages go instead. nullptr: the receiver of this process.
void forward_to(void (*forward)(log_level, std::string_view) noexcept) noexcept;

}  // namespace tandem::observe
