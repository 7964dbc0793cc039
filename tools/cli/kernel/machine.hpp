#pragma once
// What the system says of itself and of this process.
#include <cstdint>
#include <optional>
#include <string>

namespace cli::kernel {

enum class resource { descriptors, processes, address_space, locked_memory, core_file };

struct limit {
  std::optional<std::uint64_t> soft = {};  // empty: there is none
  std::optional<std::uint64_t> hard = {};
};

limit limit_of(resource) noexcept;
std::string release();  // of the kernel: "6.1.0-18-amd64"
unsigned user() noexcept;
unsigned online_cpus() noexcept;
bool errors_go_to_a_terminal() noexcept;

}  // namespace cli::kernel
