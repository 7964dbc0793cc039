#pragma once
// Asking for a stop, wherever the work runs.
#include <memory>
#include <stop_token>

#include <tandem/detail/export.hpp>
#include <tandem/transfer.hpp>

namespace tandem {

namespace detail {
class stop_link;
}

/// Asks a thread or a process for a stop. Copies ask for the same one, those in other processes too: it may be passed
/// as an argument, or returned. A request made in one process is heard in the others for as long as they hold a copy.
/// Threads: any, at once. Fork: a copy in a child made by fork() is on its own.
class TANDEM_EXPORT stop_source {
 public:
  /// One of its own, that nothing listens to yet.
  /// Errors: std::bad_alloc.
  stop_source();
  /// One for what `source` asks for a stop.
  /// Errors: std::bad_alloc.
  explicit stop_source(std::stop_source source);
  ~stop_source();
  stop_source(const stop_source&) noexcept;
  stop_source(stop_source&&) noexcept;
  stop_source& operator=(const stop_source&) noexcept;
  stop_source& operator=(stop_source&&) noexcept;

  /// True if this call made the request, false if it had been made before.
  /// Blocks: while the callbacks of tokens of this process run in this thread. Errors: none.
  bool request_stop();
  /// True once a stop was requested, and that has been heard here.
  bool stop_requested() const noexcept;
  /// A token of this process that sees the request.
  std::stop_token get_token() const noexcept;

 private:
  friend struct transfer<stop_source>;
  /// The descriptor by which another process hears and makes the request. Errors: resource_exhausted.
  const file_descriptor& descriptor() const;
  explicit stop_source(file_descriptor shared);

  std::shared_ptr<detail::stop_link> link_;  // nullptr: moved from
};

/// By a descriptor that all copies share.
template <>
struct transfer<stop_source> {
  static constexpr bool carries_handles = true;
  static void write(writer& w, const stop_source& s) { detail::wire::attach(w, s.descriptor()); }
  static stop_source read(reader& r) { return stop_source(detail::wire::detach(r)); }
};

}  // namespace tandem
