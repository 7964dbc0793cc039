// compiles
// The interface of the two units and of what belongs to them, as it is documented: what is `const` or `noexcept`, what
// converts, in which order options are named. With one header.
#include <tandem/tandem.hpp>

namespace my {
using namespace tandem;
using namespace std::chrono_literals;

template <auto Member, class Type>
concept is = std::same_as<decltype(Member), Type>;

template <class U, class Native>
constexpr bool unit_of_int() {
  static_assert(is<&U::join, void (U::*)()> && is<&U::join_for, bool (U::*)(nanoseconds)>);
  static_assert(is<&U::join_until, bool (U::*)(tandem::clock::time_point)> && is<&U::get, int (U::*)()>);
  static_assert(is<&U::request_stop, bool (U::*)()> && is<&U::joinable, bool (U::*)() const noexcept>);
  static_assert(requires(const U& u) {
    { u.running() } -> std::same_as<bool>;
    { u.status() } -> std::same_as<std::optional<exit_status>>;
    { u.get_stop_source() } -> std::same_as<tandem::stop_source>;
    { u.name() } -> std::same_as<const std::string&>;
    { u.id() } -> std::same_as<pid_t>;
    { u.native_handle() } -> std::same_as<Native>;
  });
  static_assert(std::is_nothrow_default_constructible_v<U> && std::is_nothrow_move_constructible_v<U>);
  static_assert(std::is_nothrow_move_assignable_v<U> && std::is_swappable_v<U>);
  static_assert(!std::is_copy_constructible_v<U> && !std::is_copy_assignable_v<U>);
  static_assert(!std::is_convertible_v<int (*)(), U>, "explicit");
  return true;
}
static_assert(unit_of_int<process<int>, int>() && unit_of_int<tandem::thread<int>, pthread_t>());
static_assert(is<&process<int>::report, std::optional<crash_report> (process<int>::*)() const>);
static_assert(is<&process<int>::terminate, void (process<int>::*)()> &&
              is<&process<int>::kill, void (process<int>::*)()>);
static_assert(is<&process<int>::signal, void (process<int>::*)(int)>);

static_assert(is<&exit_status::kind, ending (exit_status::*)() const noexcept>);
static_assert(is<&exit_status::ok, bool (exit_status::*)() const noexcept>);
static_assert(is<&exit_status::code, int (exit_status::*)() const noexcept>);
static_assert(is<&exit_status::signal, int (exit_status::*)() const noexcept>);
static_assert(is<&exit_status::why, cause (exit_status::*)() const noexcept>);

template <class... E>
constexpr bool errors = ((std::derived_from<E, error> && std::is_constructible_v<E, const char*> &&
                          std::is_constructible_v<E, std::string> && std::is_nothrow_copy_constructible_v<E>)&&...);
static_assert(std::derived_from<error, std::runtime_error>);
static_assert(errors<error, worker_died, worker_crashed, worker_exited, remote_exception, resource_exhausted, timed_out,
                     cancelled, closed, broken_connection, authentication_failed, decode_error, unsafe_fork,
                     not_initialised, owner_died, broken_barrier, unsupported>);
static_assert(std::derived_from<worker_crashed, worker_died> && std::derived_from<worker_exited, worker_died>);

static_assert(!std::is_convertible_v<int, file_descriptor> && !std::is_convertible_v<file_descriptor, bool>);
static_assert(is<&encode<int>, std::vector<std::byte> (*)(const int&)>);
static_assert(is<&decode<int>, int (*)(std::span<const std::byte>)>);
static_assert(carries_handles<file_descriptor> && carries_handles<tandem::stop_source> &&
              !carries_handles<std::string>);
static_assert(transferable<crash_report> && transferable<worker_info>);
static_assert(1_KiB << 20 == 1_GiB && 1024 * 1_KiB == 1_MiB);

const process_options all_options{.name = "a",
                                  .start = start_method::spawn,
                                  .cwd = "/",
                                  .environment = {{"A", "b"}},
                                  .capture_stderr = true,
                                  .stop_grace = 1s,
                                  .kill_grace = 1ms};
const fork_options all_of_a_copy{.name = "a", .allow_threads = true, .stop_grace = {}, .kill_grace = 1s};
const init_options all_of_init{.preload = [] {}, .pid_namespace = true};
const worker_info all_of_a_worker{
    .pid = 1, .name = "a", .is_process = true, .task = "b", .since = {}, .memory_bytes = 1};
const crash_report all_of_a_report{.status = {},
                                   .task = "a",
                                   .worker = "b",
                                   .pid = 1,
                                   .attempt = 2,
                                   .exception_type = "c",
                                   .message = "d",
                                   .standard_error = "e",
                                   .usage = {.cpu_time = 1s, .peak_memory_bytes = 1}};

void with_one_header(std::shared_mutex& lock, std::vector<process<int>>& units) {
  const std::shared_lock held(lock);
  try {
    std::ranges::for_each(units, [](auto& u) { u.get(); });
  } catch (const std::future_error&) {
  }
}
}  // namespace my
