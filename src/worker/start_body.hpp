#pragma once
// What the starting side tells a worker of itself: its name, what it is to set up before its function, and the call.
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace tandem::worker {

struct worker_setup {
  std::string cwd;
  std::map<std::string, std::string> environment;
  std::vector<void (*)()> on_start;

  bool empty() const noexcept { return cwd.empty() && environment.empty() && on_start.empty(); }
};

/// The start_body with all that follows it. Errors: std::bad_alloc.
std::vector<std::byte> write_body(std::string_view name, const worker_setup&, std::span<const std::byte> call);

struct body_parts {
  std::string_view name;
  std::span<const std::byte> setup;
  std::span<const std::byte> call;
};
/// Takes it apart; the parts lie in `body`. Errors: decode_error.
[[gnu::hot]] body_parts read_body(std::span<const std::byte> body);

/// All that is in it. Errors: resource_exhausted; std::bad_alloc.
std::vector<std::byte> read_memfd(int memfd);

/// Errors: decode_error; tandem::error for a function that is not in this program.
worker_setup read_setup(std::span<const std::byte>);

/// Environment and directory, of this process. Errors: resource_exhausted; std::system_error if the directory cannot be
/// entered.
void change_surroundings(const worker_setup&);
[[noreturn]] void throw_no_directory(std::error_code, const std::string& directory);

/// What on_worker_start() was given so far.
std::vector<void (*)()> start_functions();

}  // namespace tandem::worker
