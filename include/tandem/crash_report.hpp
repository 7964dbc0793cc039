#pragma once
// How a unit of execution ended, and what is known of one that died. Plain data: copied, stored, printed; no system
// call.
#include <sys/types.h>

#include <cstddef>
#include <iosfwd>
#include <string>

#include <tandem/deadline.hpp>
#include <tandem/detail/export.hpp>

namespace tandem {

enum class ending { returned, threw, exited, signalled };                                      // what the kernel saw
enum class cause { none, requested, deadline, out_of_memory, cpu_limit, sandbox, host_lost };  // why, when it is known

/// How one thread or process ended. A default one says that it returned.
/// Threads: a value like any other; const members may be called at once.
class exit_status {
 public:
  exit_status() noexcept = default;

  /// What happened: the function returned or threw, the process exited without finishing it, or a signal ended it.
  ending kind() const noexcept { return kind_; }
  /// True if the function returned a value.
  bool ok() const noexcept { return kind_ == ending::returned; }
  /// The exit code of one that exited, else 0.
  int code() const noexcept { return kind_ == ending::exited ? value_ : 0; }
  /// The number of the signal that ended it, else 0.
  int signal() const noexcept { return kind_ == ending::signalled ? value_ : 0; }
  /// Why, where that is known: `requested` if this program sent the signal, `host_lost` if the fork server died under
  /// it. SIGKILL by a stranger is `none`.
  tandem::cause why() const noexcept { return why_; }
  /// One sentence, such as "killed by signal 11 (SIGSEGV: invalid memory reference)".
  /// Blocks: never. Errors: std::bad_alloc.
  TANDEM_EXPORT std::string to_string() const;

  /// The statuses that the library makes; public so that tests and tools can make them too.
  static exit_status make(ending kind, int value = 0, tandem::cause why = tandem::cause::none) noexcept {
    exit_status s;
    s.kind_ = kind;
    s.value_ = value;
    s.why_ = why;
    return s;
  }

  friend bool operator==(const exit_status&, const exit_status&) noexcept = default;
  /// Writes to_string().
  /// Errors: what the stream throws.
  TANDEM_EXPORT friend std::ostream& operator<<(std::ostream&, const exit_status&);

 private:
  ending kind_ = ending::returned;
  int value_ = 0;
  tandem::cause why_ = tandem::cause::none;
};

/// What a process used in its whole life, with the children that it waited for.
struct resource_usage {
  nanoseconds cpu_time{};
  std::size_t peak_memory_bytes = 0;
};

/// What is known of a worker that died. Empty strings and zeros stand for what is not known.
struct crash_report {
  exit_status status = {};
  std::string task = {};
  std::string worker = {};
  pid_t pid = 0;
  unsigned attempt = 1;
  bool quarantined = false;         // of a task in a pool: it is never run again
  std::string exception_type = {};  // of an exception that nobody caught
  std::string message = {};         // its what(), or what the library knows of the cause
  std::string standard_error = {};  // its end, if it was captured
  resource_usage usage = {};

  /// A few lines for people: who died, doing what, how, and what it had used.
  /// Blocks: never. Errors: std::bad_alloc.
  TANDEM_EXPORT std::string to_string() const;
  /// One JSON object with every member; strings that are not UTF-8 have the wrong bytes replaced by U+FFFD.
  /// Blocks: never. Errors: std::bad_alloc.
  TANDEM_EXPORT std::string to_json() const;
};

}  // namespace tandem
