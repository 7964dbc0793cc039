#pragma once
// A process with a result: a function that runs isolated, with the members of tandem::thread.
#include <functional>
#include <tuple>

#include <tandem/detail/call.hpp>
#include <tandem/detail/channel_wait.hpp>
#include <tandem/detail/process_handle.hpp>
#include <tandem/detail/stop_all.hpp>
#include <tandem/error.hpp>

namespace tandem {

/// Where a process comes from.
enum class start_method {
  fork_server,  // a clone of the small copy of the program that init() made: fast; globals are as they were then
  spawn,        // the same program started afresh, with the same arguments: nothing inherited but standard streams; it
                // reaches init() in main, where its function runs; what main does before that, it does again, but
                // signals are then as in any worker; the preload does not run in it
};

struct process_options {
  std::string name = {};
  start_method start = start_method::fork_server;
  std::filesystem::path cwd = {};                       // empty: as at init
  std::map<std::string, std::string> environment = {};  // set in addition to those that were there at init
  bool capture_stderr = false;  // the last 4 KiB of its standard error go into the crash report; all of it is passed on
  nanoseconds stop_grace = std::chrono::seconds(5);  // from the request to stop until SIGTERM
  nanoseconds kill_grace = std::chrono::seconds(1);  // from SIGTERM until SIGKILL
};

/// For a copy of this program as it is now, with all its memory and descriptors. Ctrl-C reaches it too.
struct fork_options {
  std::string name = {};
  bool allow_threads = false;  // copy the program although other threads run: whatever lock they hold stays held in the
                               // copy, for ever; a wait call of the program, or an ignored SIGCHLD, may then take the
                               // copy's exit status away
  nanoseconds stop_grace = std::chrono::seconds(5);
  nanoseconds kill_grace = std::chrono::seconds(1);
};

/// A process, cloned from the fork server, that runs a function and sends back what it returned or threw. Move-only;
/// a default-constructed or moved-from one is empty. Its destructor asks for a stop and waits for `stop_grace`, then
/// sends SIGTERM and waits for `kill_grace`, then kills it and what is below it: it always ends. Standard input, output
/// and error are those of the program, but a terminal stops a worker that reads from it (SIGTTIN): read in the program,
/// and pass on what was read.
/// Threads: const members, join and request_stop at once; moves and destruction by one thread. Fork: in a child made
/// by fork() the process is not its own; the destructor there does nothing.
template <class R>
class process {
  static_assert(!detail::is_not_callable<R>,
                "tandem: this function cannot be called with these arguments (they are decayed and passed as rvalues, "
                "with a std::stop_token before them if the function takes one)");
  static_assert(!std::is_reference_v<R>,
                "tandem: a process cannot return a reference, since it has another memory: return a value");

 public:
  /// An empty one.
  process() noexcept = default;
  process(process&&) noexcept = default;
  /// Ends its own as the destructor does, then takes the other's.
  /// Blocks: until its own has ended. Stop: requested of its own.
  process& operator=(process&&) noexcept = default;
  ~process() = default;

  /// Runs `f(arguments...)`, or `f(stop_token, arguments...)` if it takes one, in a new process, at once. They are
  /// decayed and encoded here, so what this program does with its own afterwards does not matter; a C string arrives
  /// as one. `f`: a function, a lambda without captures, a pointer to a member function with its object, a
  /// transferable function object. Descriptors among the arguments are duplicated for it.
  /// Blocks: until the process exists. Fork: by the fork server; see init(). Errors: not_initialised, for
  /// start_method::spawn also if main did not call init(); unsupported (as init()); resource_exhausted (which system
  /// call, which errno: nothing was started); std::system_error (which errno) if `cwd` is no directory, and from get()
  /// if it cannot be entered; std::invalid_argument for a name or a variable that cannot be, or a null function;
  /// std::length_error if the arguments nest too deeply; tandem::error if the function has no name by which the process
  /// would find it (docs/functions.md), or the fork server died three times meanwhile; what copying or encoding throws.
  /// Cost: one fork of a small process, two system calls here; lvalues of the language's and the standard library's types
  /// are encoded where they are, without a copy;
  /// arguments over 4 KiB travel in shared memory; spawn: an execve and what main does before init().
  /// Needs: Linux 5.4.
  template <class F, class... A>
  requires(!std::same_as<std::decay_t<F>, process> && !unit_options<std::decay_t<F>>) explicit process(F&& f,
                                                                                                       A&&... arguments)
      : process(process_options{}, std::forward<F>(f), std::forward<A>(arguments)...) {}
  template <class F, class... A>
  process(process_options options, F&& f, A&&... arguments)
      : handle_(start(std::move(options), detail::to_encode<F>(f), detail::to_encode<A>(arguments)...)) {}
  /// The same in a copy of this program as it is now: captures, pointers and references are allowed, and see the copy.
  /// Functions given to pthread_atfork are not run if this is the only thread.
  /// Blocks: until the process exists. Fork: of the caller. Errors: unsafe_fork if other threads run;
  /// not_initialised; resource_exhausted; what copying the arguments throws. Cost: a fork of this program, which grows
  /// with its memory.
  template <std::same_as<fork_options> O, class F, class... A>
  process(O options, F&& f, A&&... arguments)
      : handle_(copy(std::move(options), std::decay_t<F>(std::forward<F>(f)),
                     std::decay_t<A>(std::forward<A>(arguments))...)) {}

  /// Waits until the process has ended. Any number of times; never throws for what the function did.
  /// Blocks: until then. Errors: std::system_error (invalid_argument) on an empty one.
  void join() { handle_.join(); }
  /// As join(), but for no longer than `timeout`, or until `deadline`: true if the process has ended.
  /// Blocks: until then. Errors: as join().
  bool join_for(nanoseconds timeout) { return handle_.join_until(deadline_after(timeout)); }
  bool join_until(clock::time_point deadline) { return handle_.join_until(deadline); }
  /// Joins, then gives the value that the function returned, once, or throws what it threw.
  /// Blocks: until the process has ended. Errors: what the function threw, as itself (standard and registered types)
  /// or as remote_exception; worker_crashed; worker_exited; resource_exhausted if the result could not be handed
  /// over; decode_error if what came is no such result; std::future_error the second time, or on an empty one.
  R get() {
    [[maybe_unused]] detail::message result = handle_.take();
    if constexpr (!std::is_void_v<R>) {
      reader in = detail::make_reader(result.bytes, result.handles);
      auto value = detail::read_value<std::remove_const_t<R>>(in);
      detail::finish(in);
      return value;
    }
  }

  /// True until the process has ended.
  /// Errors: resource_exhausted; tandem::error in a copy made by fork(). Cost: one system call.
  bool running() const { return handle_.running(); }
  /// True if there is a process that was not joined yet.
  bool joinable() const noexcept { return handle_.joinable(); }
  /// How it ended; empty while it runs.
  /// Errors: as running(). Cost: one system call.
  std::optional<exit_status> status() const { return handle_.status(); }
  /// What is known of one that neither returned nor threw; empty for all others.
  /// Errors: as running().
  std::optional<crash_report> report() const { return handle_.report(); }
  /// Asks the function to stop: its token, and this_worker::stop_token(), see it. True if this call made the request.
  /// Blocks: while the callbacks of tokens of this side run. Errors: tandem::error in a copy made by fork().
  bool request_stop() { return handle_.request_stop(); }
  /// What asks this process for a stop. Of an empty one: a source of nobody.
  /// Errors: tandem::error in a copy made by fork().
  tandem::stop_source get_stop_source() const { return handle_.get_stop_source(); }
  /// The name given to it (ps shows its first 15 bytes), or "process-N"; of an empty one: empty.
  const std::string& name() const noexcept { return handle_.name(); }
  /// The pid as this process sees it; it may be another's once this one has ended. 0 of an empty one.
  pid_t id() const noexcept { return handle_.id(); }
  /// A pidfd, owned by this object: it polls readable once the process has ended. -1 of an empty one.
  int native_handle() const noexcept { return handle_.native_handle(); }
  /// Sends SIGTERM, of which the function learns nothing: unless it handles the signal, it just ends.
  /// Errors: as signal().
  void terminate() { handle_.signal(15); }
  /// Kills it and all processes below it. Nothing that it had begun is finished.
  /// Blocks: never. Errors: as signal(). Cost: a read of /proc for each process below it.
  void kill() { handle_.kill(); }
  /// Sends a signal; one that has ended already gets none.
  /// Errors: std::invalid_argument if there is no such signal; std::system_error (no_such_process on an empty one,
  /// operation_not_permitted).
  void signal(int number) { handle_.signal(number); }

 private:
  template <class F, class... A>
  static detail::process_handle start(process_options options, const F& f, const A&... arguments) {
    detail::require_call<R, F, A...>();
    if constexpr (detail::gives_result<R, F, A...>) {
      detail::require_callable<F>();
      (detail::require_transferable<detail::carried_t<A>>(), ...);
      if constexpr (!std::is_void_v<R>) detail::require_transferable<std::remove_const_t<R>>();
      if constexpr (detail::crosses_as_call<R, F, A...>) {
        return detail::process_handle(
            {std::move(options.name), options.start == start_method::spawn, std::move(options.cwd),
             std::move(options.environment), options.capture_stderr, options.stop_grace, options.kill_grace},
            detail::make_call<R>(f, arguments...));
      }
    }
    return {};
  }
  template <class F, class... A>
  static detail::process_handle copy(fork_options options, F f, A... arguments) {
    detail::require_call<R, F, A...>();
    if constexpr (detail::gives_result<R, F, A...>) {
      if constexpr (!std::is_void_v<R>) detail::require_transferable<std::remove_const_t<R>>();
      if constexpr (std::is_void_v<R> || transferable<R>) {
        using call_type = detail::call_in_copy<R, F, A...>;
        call_type call{std::move(f), std::tuple<detail::kept_argument<A>...>(std::move(arguments)...)};
        detail::process_start start{.name = std::move(options.name)};
        start.stop_grace = options.stop_grace;
        start.kill_grace = options.kill_grace;
        return detail::process_handle(std::move(start),
                                      detail::copied_call{&call_type::run, &call, options.allow_threads});
      }
    }
    return {};
  }
  friend detail::process_handle& detail::get_handle<R>(process&) noexcept;

  detail::process_handle handle_;
};

template <class F, class... A>
requires(!unit_options<F>) process(F, A...)
->process<typename detail::deduced<F, A...>::type>;
template <class F, class... A>
process(process_options, F, A...) -> process<typename detail::deduced<F, A...>::type>;
template <std::same_as<fork_options> O, class F, class... A>
process(O, F, A...) -> process<typename detail::deduced<F, A...>::type>;

namespace detail {
template <class R>
process_handle& get_handle(process<R>& p) noexcept {
  return p.handle_;
}

/// Ready once it has ended; an empty one is, and one whose server died while it was started.
template <class R>
struct waiting<process<R>> {
  static wait_entry of(const process<R>& p) {
    return {&p,
            [](const void* h) {
              const int pidfd = static_cast<const process<R>*>(h)->native_handle();
              return wait_state{pidfd, pidfd < 0};
            },
            nullptr, nullptr, nullptr};
  }
};
}  // namespace detail

}  // namespace tandem
