#pragma once
// Asking for a stop, wherever the work runs.
#include <stop_token>

namespace tandem {

/// Asks a thread or a process for a stop. Copies ask for the same one.
/// Threads: any, at once.
class stop_source {
 public:
  /// One of its own, that nothing listens to yet.
  /// Errors: std::bad_alloc.
  stop_source() = default;
  /// One for what `source` asks for a stop.
  explicit stop_source(std::stop_source source) noexcept : source_(std::move(source)) {}

  /// True if this call made the request, false if it had been made before.
  /// Blocks: while the callbacks of tokens run in this thread. Errors: none.
  bool request_stop() { return source_.request_stop(); }
  /// True once a stop was requested.
  bool stop_requested() const noexcept { return source_.stop_requested(); }
  /// A token of this process that sees the request.
  std::stop_token get_token() const noexcept { return source_.get_token(); }

 private:
  std::stop_source source_;
};

}  // namespace tandem
