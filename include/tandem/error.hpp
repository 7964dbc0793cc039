#pragma once
// Every error that tandem throws. All are tandem::error, hence std::runtime_error; standard exceptions that a worker
// threw keep their own type.
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

#include <tandem/crash_report.hpp>
#include <tandem/detail/export.hpp>

namespace tandem {

/// The base of all errors of the library.
struct TANDEM_EXPORT error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The worker ended before its function did. The report says who, how, and what is known of the cause.
class TANDEM_EXPORT worker_died : public error {
 public:
  using error::error;
  /// One with that report; what() is its to_string().
  /// Errors: std::bad_alloc.
  explicit worker_died(crash_report report);
  /// What is known of the death; valid as long as this exception or a copy of it lives.
  const crash_report& report() const noexcept;

 private:
  std::shared_ptr<const crash_report> report_;
};

/// A signal ended it, or std::terminate.
class TANDEM_EXPORT worker_crashed : public worker_died {
 public:
  using worker_died::worker_died;
};

/// It called exit, _exit or quick_exit (in a thread: pthread_exit) instead of returning.
class TANDEM_EXPORT worker_exited : public worker_died {
 public:
  using worker_died::worker_died;
};

/// An exception whose type cannot be rebuilt here: what() is its text, type_name() its type.
class TANDEM_EXPORT remote_exception : public error {
 public:
  using error::error;
  /// One for an exception of that type, with that text.
  /// Errors: std::bad_alloc.
  remote_exception(const std::string& type_name, const std::string& what);
  /// The readable name of the type that was thrown.
  const std::string& type_name() const noexcept;

 private:
  std::shared_ptr<const std::string> type_name_;  // shared, so that a copy cannot throw
};

/// The system refused something: which call, and its errno.
class TANDEM_EXPORT resource_exhausted : public error {
 public:
  using error::error;
  /// One for that system call and its errno; `advice`, if any, ends what().
  /// Errors: std::bad_alloc.
  resource_exhausted(const std::string& operation, std::error_code code, const std::string& advice = {});
  /// The errno of the call, in the generic category.
  std::error_code code() const noexcept { return code_; }
  /// The name of the system call; empty if it was made from a text alone.
  const std::string& operation() const noexcept;

 private:
  std::error_code code_;
  std::shared_ptr<const std::string> operation_;
};

// clang-format off
struct TANDEM_EXPORT timed_out : error { using error::error; };              // a deadline passed
struct TANDEM_EXPORT cancelled : error { using error::error; };              // a stop was requested
struct TANDEM_EXPORT closed : error { using error::error; };                 // used after close
struct TANDEM_EXPORT broken_connection : error { using error::error; };      // the peer went away
struct TANDEM_EXPORT authentication_failed : error { using error::error; };  // the keys differ
struct TANDEM_EXPORT decode_error : error { using error::error; };           // bytes that are no such value
struct TANDEM_EXPORT unsafe_fork : error { using error::error; };            // other threads run
struct TANDEM_EXPORT not_initialised : error { using error::error; };        // no fork server, and too late to make one
struct TANDEM_EXPORT owner_died : error { using error::error; };             // the holder of a lock died
struct TANDEM_EXPORT broken_barrier : error { using error::error; };         // a party of a barrier died
struct TANDEM_EXPORT unsupported : error { using error::error; };            // this kernel or build cannot; says what would
// clang-format on

/// Lets exceptions of exactly the type E arrive as themselves from a worker process; E is derived from std::exception
/// and transferable (by a hook, <tandem/transfer.hpp>, which also defines this).
/// Threads: any. Errors: std::bad_alloc. Cost: one map entry; registering twice is harmless. Fork: register at
/// namespace scope or before init(), so that the workers know it too.
template <class E>
void register_exception();

}  // namespace tandem
