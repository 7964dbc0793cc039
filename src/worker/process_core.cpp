#include "worker/process_core.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <future>
#include <iterator>
#include <stdexcept>

#include <tandem/error.hpp>

#include "observe/log.hpp"
#include "os/kernel.hpp"
#include "sync/session.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/fork_watch.hpp"
#include "worker/protocol.hpp"
#include "worker/runtime.hpp"
#include "worker/start_body.hpp"
#include "worker/unit_name.hpp"

namespace tandem::detail {

namespace {

constexpr int sigterm = 15;
constexpr int sigkill = 9;
constexpr int sigstop = 19;
constexpr int most_signal = 64;

clock::time_point later(clock::time_point from, nanoseconds by) {
  return by >= os::never - from ? os::never : from + by;
}

}  // namespace

std::atomic<unsigned> process_core::numbers{0};

void throw_no_state() { throw std::future_error(std::future_errc::no_state); }

void throw_empty_join() {
  throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                          "tandem: join of an empty thread or process");
}

void process_core::told_worker::operator()() const noexcept {
  page->stop.store(1, std::memory_order_release);
  os::futex_wake_all(page->stop);
}

// ---- the start ----------------------------------------------------------------------------------------------------

void process_core::prepare() {
  worker::require_name(options_.name);
  for (const auto& [variable, value] : options_.environment) {
    if (variable.empty() || variable.find_first_of(std::string_view("=\0", 2)) != std::string::npos ||
        value.find('\0') != std::string::npos) {
      throw std::invalid_argument(
          "tandem: \"" + variable +
          "\" cannot be set in an environment: a name is not empty, without = and zero bytes, and a value "
          "is without zero bytes");
    }
  }
  if (!options_.cwd.empty()) {
    std::error_code failed;
    options_.cwd = std::filesystem::absolute(options_.cwd, failed);
    if (!failed && !std::filesystem::is_directory(options_.cwd, failed) && !failed)
      failed = std::make_error_code(std::errc::not_a_directory);
    if (failed) worker::throw_no_directory(failed, options_.cwd.string());
  }
  since_ = clock::now();
}

process_core::process_core(process_start options, message call)
    : runtime_(&worker::runtime::get()),
      options_(std::move(options)),
      name_(worker::name_or_number(options_.name, "process-", numbers)),
      epoch_(worker::fork_epoch()) {
  prepare();
  if (options_.fresh_image) runtime_->require_init_in_main();
  start(call);
  if (!lost_) telling_.emplace(stops_.get_token(), told_worker{page_});
  if (!options_.unlisted) enlist();
}

void process_core::start(const message& call) {
  worker::worker_setup setup{options_.cwd.string(), options_.environment, worker::start_functions()};
  std::vector<std::byte> body = worker::write_body(name_, setup, call.bytes);
  file_descriptor memfd;
  if (body.size() > worker::most_inline_bytes || options_.fresh_image) {
    memfd = file_descriptor(static_cast<int>(os::check(os::anonymous_file("tandem call", 0), "memfd_create")));
    os::check(os::write_at(memfd.get(), body, 0), "pwrite");
    body = {};
  }
  constexpr int most_servers = 3;
  for (int servers = 0; servers < most_servers; ++servers) {
    if (try_start(body, memfd.get(), call.handles)) return;
  }
  throw tandem::error("tandem: the fork server died " + std::to_string(most_servers) +
                      " times while it started one process");
}

[[noreturn]] static void throw_refused(const worker::reply& said) {
  os::throw_failed(std::string(worker::get_text(said.operation)).c_str(), said.error, "no process was started");
}

[[noreturn]] static void throw_without_descriptor(const worker::reply& said, const std::string& of_what) {
  if (said.unsent != 0) os::throw_failed("sendmsg", said.unsent);
  os::throw_failed("recvmsg", said.error != 0 ? said.error : EMFILE, "no descriptor was free for " + of_what);
}

// All but those that go with the start itself. False if the server is gone.
bool process_core::send_handles(std::span<const file_descriptor>& handles) {
  worker::request asked{worker::request_kind::handles, slot_, worker::bit(worker::start_flag::first_handles), 0};
  for (; handles.size() > worker::most_handles_at_once; asked.flags = 0) {
    std::vector<int> now;
    for (const file_descriptor& fd : handles.first(worker::most_handles_at_once)) now.push_back(fd.get());
    handles = handles.subspan(worker::most_handles_at_once);
    const auto answer = link_->ask(asked, {}, now);
    if (answer.how != worker::server_link::outcome::answered) return false;
    if (answer.said.error != 0) throw_refused(answer.said);
  }
  return true;
}

// The server has some of a start that will not come.
void process_core::forget_handles() noexcept {
  try {
    link_->ask({worker::request_kind::sync, slot_});
  } catch (...) {  // they are closed when the slot is used again
  }
}

// False if the server died before anything of the worker ran.
bool process_core::try_start(std::span<const std::byte> body, int memfd, std::span<const file_descriptor> handles) {
  link_ = runtime_->link();
  slot_ = runtime_->slots().take();
  page_ = &runtime_->slots().page(slot_);
  const auto flag = [](bool set, worker::start_flag f) { return set ? worker::bit(f) : 0U; };
  const worker::request asked{worker::request_kind::start, slot_,
                              flag(memfd >= 0, worker::start_flag::body_in_memfd) |
                                  flag(options_.fresh_image, worker::start_flag::fresh_image) |
                                  flag(options_.capture_stderr, worker::start_flag::capture_stderr),
                              static_cast<std::uint32_t>(handles.size())};
  worker::server_link::answer answer;
  const std::size_t call_handles = handles.size();
  try {
    if (send_handles(handles)) {
      std::vector<int> fds;
      if (memfd >= 0) fds.push_back(memfd);
      for (const file_descriptor& fd : handles) fds.push_back(fd.get());
      answer = link_->ask(asked, body, fds);
    } else {
      answer.how = worker::server_link::outcome::unsent;
    }
  } catch (...) {
    if (handles.size() < call_handles) forget_handles();
    runtime_->slots().give_back(slot_, false);
    throw;
  }
  using outcome = worker::server_link::outcome;
  if (answer.how == outcome::lost) {
    // The worker may exist. Whoever is first at its page decides: it begins, or it never does. The slot is not used
    // again.
    auto fresh = static_cast<std::uint32_t>(worker::phase::fresh);
    if (page_->state.compare_exchange_strong(fresh, static_cast<std::uint32_t>(worker::phase::revoked))) return false;
    lost_ = true;
    return true;
  }
  if (answer.how == outcome::unsent) {
    runtime_->slots().give_back(slot_, false);
    return false;
  }
  if (answer.said.error != 0) {
    runtime_->slots().give_back(slot_, false);
    throw_refused(answer.said);
  }
  pid_ = answer.said.pid;
  if (answer.descriptors.empty() || !answer.descriptors[0]) {
    link_->ask({worker::request_kind::abandon, slot_});
    runtime_->slots().give_back(slot_, true);
    throw_without_descriptor(answer.said, "the pidfd of a new process, which was ended again");
  }
  pidfd_ = std::move(answer.descriptors[0]);
  if (runtime_->has_namespace()) pid_ = os::pid_behind(pidfd_.get());
  return true;
}

process_core::~process_core() {
  if (!of_this_process()) return;
  strike();
  telling_.reset();
  if (!lost_) runtime_->slots().give_back(slot_, !copied_ && !link_->broken());
}

bool process_core::of_this_process() const noexcept { return epoch_ == worker::fork_epoch(); }

// ---- the end ------------------------------------------------------------------------------------------------------

bool process_core::ended(clock::time_point deadline) const {
  if (lost_) return true;
  std::array<os::ready, 1> set{{{pidfd_.get()}}};
  return os::check(os::wait_ready(set, deadline), "ppoll") == 1;
}

// As ended(), for those who cannot throw: an error counts as nothing seen yet.
bool process_core::wait_ended(clock::time_point deadline) noexcept {
  for (;;) {
    try {
      if (ended(deadline)) return true;
      return false;
    } catch (...) {
      if (clock::now() >= deadline) return false;
    }
  }
}

tandem::stop_source process_core::get_stop_source() {
  const std::lock_guard lock(mutex_);
  if (!source_) source_.emplace(stops_);
  return *source_;
}

void process_core::join() { join_until(os::never); }

bool process_core::join_until(clock::time_point deadline) {
  if (!ended(deadline)) return false;
  if (copied_) {
    reap_copy();
  } else if (!lost_) {
    // The fork server does the same; if it has not yet: whoever has joined it is to find no lock in its hands. Later the
    // handle may be another's.
    const worker::ending_line& line = runtime_->slots().line(slot_);
    if (line.reaped.load(std::memory_order_acquire) != 1) sync::process_ended(line.process);
  }
  joined_.store(true, std::memory_order_release);
  return true;
}

bool process_core::active() const noexcept {
  try {
    return !ended(os::now);
  } catch (...) {
    return true;
  }
}

exit_status process_core::status() {
  const std::lock_guard lock(mutex_);
  collect();
  return status_;
}

std::optional<crash_report> process_core::report() {
  const std::lock_guard lock(mutex_);
  collect();
  return report_;
}

message process_core::take() {
  join();
  const std::lock_guard lock(mutex_);
  collect();
  if (taken_) throw std::future_error(std::future_errc::future_already_retrieved);
  taken_ = true;
  if (failure_) std::rethrow_exception(failure_);
  if (status_.kind() == ending::threw) rethrow_encoded(result_.bytes);
  if (status_.kind() == ending::exited) throw worker_exited(*report_);
  if (status_.kind() == ending::signalled) throw worker_crashed(*report_);
  return std::move(result_);
}

void process_core::collect() {
  if (collected_) return;
  if (copied_) reap_copy();
  if (options_.capture_stderr && !lost_) errors_ = link_->ask({worker::request_kind::errors, slot_}).text;
  // Of the page, nothing is believed: each field is read once and checked.
  const auto reached = lost_ ? worker::phase::begun : worker::phase{page_->state.load(std::memory_order_acquire)};
  switch (reached) {
    case worker::phase::value:
    case worker::phase::value_out:
    case worker::phase::error:
    case worker::phase::error_out: collect_result(reached); break;
    default: collect_death(); break;
  }
  if (!lost_) collect_log();
  collected_ = true;
}

void process_core::collect_result(worker::phase reached) {
  const bool returned = reached == worker::phase::value || reached == worker::phase::value_out;
  status_ = exit_status::make(returned ? ending::returned : ending::threw);
  if (reached == worker::phase::value || reached == worker::phase::error) {
    const std::uint32_t size = page_->result_bytes;
    if (size > page_->result.size()) return collect_death();
    result_.bytes.assign(page_->result.begin(), page_->result.begin() + size);
    return;
  }
  worker::server_link::answer first;
  if (!copied_) {
    first = link_->ask({worker::request_kind::fetch, slot_});  // one that could not be sent is sent again
    if (first.how != worker::server_link::outcome::answered) return collect_death();
  }
  try {
    if (copied_) {
      receive_result();
    } else {
      fetch_result(std::move(first));
    }
  } catch (...) {
    result_ = {};
    failure_ = std::current_exception();  // it has been given away, so it cannot be asked for again
  }
}

void process_core::read_result(const file_descriptor& memfd) {
  const auto size = static_cast<std::size_t>(os::check(os::size_of(memfd.get()), "fstat"));
  // A file may claim any size at no cost.
  if (size > static_cast<std::size_t>(os::check(os::stored_bytes(memfd.get()), "fstat")))
    throw decode_error("tandem: the result of " + name_ + " has holes");
  result_.bytes.resize(size);
  os::check(os::read_at(memfd.get(), result_.bytes, 0), "pread");
}

// From the server.
void process_core::fetch_result(worker::server_link::answer answer) {
  for (bool first = true;; first = false) {
    if (!first) answer = link_->ask({worker::request_kind::fetch, slot_});
    if (answer.how != worker::server_link::outcome::answered)
      throw tandem::error("tandem: the fork server died with the rest of the result of " + name_);
    if (answer.said.error != 0 || answer.descriptor_lost || answer.descriptors.empty())
      throw_without_descriptor(answer.said, "the result of " + name_);
    auto handles = answer.descriptors.begin();
    if (first) read_result(*handles++);
    result_.handles.insert(result_.handles.end(), std::make_move_iterator(handles),
                           std::make_move_iterator(answer.descriptors.end()));
    if (answer.said.more == 0) return;
  }
}

// From a copy, which has ended: all of it is there.
void process_core::receive_result() {
  for (bool last = false; !last;) {
    std::array<std::byte, sizeof(worker::door_message)> bytes;
    os::message got = os::receive_now(door_.get(), bytes);
    worker::door_message said;
    if (got.size <= 0 || !worker::read_message(said, bytes) || got.descriptors_lost || got.descriptors.empty()) {
      const int error = got.size < 0 ? static_cast<int>(-got.size) : EMFILE;
      os::throw_failed("recvmsg", error, "no descriptor was free for the result of " + name_);
    }
    last = said.kind == worker::door_kind::result;
    auto handles = got.descriptors.begin();
    if (last) read_result(*handles++);
    result_.handles.insert(result_.handles.end(), std::make_move_iterator(handles),
                           std::make_move_iterator(got.descriptors.end()));
  }
}

// What is known of its end, if anything is.
std::optional<os::ended_child> process_core::known_end() {
  if (copied_) return reaped_ && reaped_->pid > 0 ? reaped_ : std::nullopt;
  if (lost_ || link_->ask({worker::request_kind::sync, slot_}).how != worker::server_link::outcome::answered)
    return std::nullopt;
  const worker::ending_line& line = runtime_->slots().line(slot_);
  if (line.reaped.load(std::memory_order_acquire) != 1) return std::nullopt;
  return os::ended_child{pid_, line.value, line.cpu_ns, line.peak_bytes};
}

void process_core::collect_death() {
  const std::optional<os::ended_child> known = known_end();
  crash_report report;
  if (!known) {
    status_ = exit_status::make(ending::signalled, sigkill, copied_ ? cause::none : cause::host_lost);
  } else if (known->value < 0) {
    const int number = -known->value;
    const bool ours = number <= most_signal && ((sent_.load() >> (number - 1)) & 1) != 0;
    status_ = exit_status::make(ending::signalled, number, ours ? cause::requested : cause::none);
  } else {
    status_ = exit_status::make(ending::exited, known->value);
  }
  report.status = status_;
  report.task = name_;
  report.worker = name_;
  report.pid = pid_;
  if (known) report.usage = {nanoseconds(known->cpu_ns), static_cast<std::size_t>(known->peak_bytes)};
  if (!lost_) {
    report.exception_type = worker::get_text(page_->exception_type);
    report.message = worker::get_text(page_->exception_what);
  }
  if (copied_ && !known) report.message = "another part of the program waited for it, so that its exit status is gone";
  report.standard_error = errors_;
  result_ = {};
  report_ = std::move(report);
}

void process_core::collect_log() {
  std::array<char, worker::log_bytes> log = page_->log;
  const std::size_t used = std::min<std::size_t>(page_->log_used, log.size());
  const std::uint32_t dropped = page_->log_dropped;
  const std::string who = name_ + " (pid " + std::to_string(pid_) + "): ";
  for (std::size_t at = 0; at + 3 <= used;) {
    const auto level = static_cast<unsigned char>(log[at]);
    const std::size_t length = static_cast<unsigned char>(log[at + 1]) + 256U * static_cast<unsigned char>(log[at + 2]);
    if (level > static_cast<unsigned char>(log_level::error) || length > used - at - 3) break;
    observe::log(static_cast<log_level>(level), who + std::string(log.data() + at + 3, length));
    at += 3 + length;
  }
  if (dropped != 0)
    observe::log(log_level::warning, who + std::to_string(dropped) + " messages did not fit and are lost");
}

// ---- signals ------------------------------------------------------------------------------------------------------

void process_core::send(int number) {
  if (lost_) return;
  sent_.fetch_or(std::uint64_t{1} << (number - 1));
  const int result = os::send_signal(pidfd_.get(), number);
  if (result < 0 && result != -ESRCH) {
    throw std::system_error(-result, std::generic_category(),
                            "tandem: signal " + std::to_string(number) + " to " + name_);
  }
}

void process_core::signal(int number) {
  if (number < 1 || number > most_signal) {
    throw std::invalid_argument("tandem: there is no signal " + std::to_string(number) + "; they go from 1 to 64");
  }
  send(number);
}

void process_core::kill() {
  if (lost_ || ended(os::now)) return;
  // Stopped through the pidfd: if it has ended meanwhile, its number may be another's, which nobody touches then.
  const int stopped = os::send_signal(pidfd_.get(), sigstop);
  if (stopped == -EPERM && !copied_) {  // this program has changed its user since; the server has not
    sent_.fetch_or(std::uint64_t{1} << (sigkill - 1));
    link_->ask({worker::request_kind::abandon, slot_});
    return;
  }
  if (stopped < 0) return send(sigkill);
  try {
    os::kill_descendants_of(pid_);
  } catch (const std::bad_alloc&) {  // then they are orphans, which end with this program
  }
  send(sigkill);
}

// One step down the ladder, if it is time for it; true once it has ended.
bool process_core::step_down(clock::time_point asked) noexcept {
  if (joined() || wait_ended(os::now)) {
    for (const os::known_process& orphan : below_) os::kill_tree(orphan);
    below_.clear();
    return true;
  }
  const clock::time_point now = clock::now();
  const clock::time_point terminating = later(asked, options_.stop_grace);
  const clock::time_point killing = later(terminating, options_.kill_grace);
  try {
    if (rung_ == 0 && now >= terminating) {
      rung_ = 1;
      below_ = os::processes_below(pid_);  // SIGTERM may end it, and leave them
      send(sigterm);
    }
  } catch (...) {  // not allowed to signal it: the next step does not ask
  }
  try {
    if (rung_ == 1 && now >= killing) {
      rung_ = 2;
      kill();
    }
  } catch (...) {  // a copy that has changed its user: all that is left is to wait
  }
  next_step_ = rung_ == 0 ? terminating : rung_ == 1 ? killing : os::never;
  return false;
}

void process_core::finish(std::span<process_core* const> all) noexcept {
  for (process_core* one : all) {
    if (!one->joined()) one->stops_.request_stop();
  }
  const clock::time_point asked = clock::now();
  for (bool ended = false; !ended;) {
    ended = true;
    clock::time_point next = os::never;
    process_core* waited_for = nullptr;
    for (process_core* one : all) {
      if (one->step_down(asked)) continue;
      ended = false;
      if (waited_for == nullptr) waited_for = one;
      next = std::min(next, one->next_step_);
    }
    if (waited_for != nullptr) waited_for->wait_ended(next);
  }
  for (process_core* one : all) {
    try {
      const std::lock_guard lock(one->mutex_);
      one->collect();  // for its messages
    } catch (...) {    // nobody will ask any more
    }
  }
}

worker_info process_core::describe() const { return {pid_, name_, true, {}, since_, os::resident_bytes(pid_)}; }

// ---- the handle ---------------------------------------------------------------------------------------------------

process_handle::process_handle() noexcept = default;
process_handle::process_handle(process_start options, message call)
    : core_(std::make_unique<process_core>(std::move(options), std::move(call))) {}
process_handle::process_handle(process_start options, copied_call call)
    : core_(std::make_unique<process_core>(std::move(options), call)) {}
process_handle::process_handle(process_handle&&) noexcept = default;

process_handle& process_handle::operator=(process_handle&& other) noexcept {
  if (this != &other) {
    const process_handle ending(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}

process_handle::~process_handle() {
  if (!core_ || !core_->of_this_process()) return;
  process_core* const one = core_.get();
  process_core::finish({&one, 1});
}

void finish_all(std::span<process_handle* const> handles) noexcept {
  std::vector<process_core*> cores;
  try {
    cores.reserve(handles.size());
  } catch (const std::bad_alloc&) {  // then one after the other
    for (process_handle* handle : handles) {
      process_core* const one = handle->core_.get();
      if (one != nullptr && one->of_this_process()) process_core::finish({&one, 1});
    }
    return;
  }
  for (process_handle* handle : handles) {
    if (handle->core_ && handle->core_->of_this_process()) cores.push_back(handle->core_.get());
  }
  process_core::finish(cores);
}

process_core& process_handle::core() const {
  if (!core_) throw_empty_join();
  if (!core_->of_this_process()) throw tandem::error("tandem: this process belongs to the program that fork() copied");
  return *core_;
}

void process_handle::join() const { core().join(); }
bool process_handle::join_until(clock::time_point deadline) const { return core().join_until(deadline); }
message process_handle::take() const {
  if (!core_) throw_no_state();
  return core().take();
}
bool process_handle::running() const { return core_ && !core().ended(os::now); }
bool process_handle::joinable() const noexcept { return core_ && !core_->joined(); }
std::optional<exit_status> process_handle::status() const {
  return core_ && core().ended(os::now) ? std::optional(core().status()) : std::nullopt;
}
std::optional<crash_report> process_handle::report() const {
  return core_ && core().ended(os::now) ? core().report() : std::nullopt;
}
bool process_handle::request_stop() const { return core_ && core().stops().request_stop(); }
tandem::stop_source process_handle::get_stop_source() const {
  return core_ ? core().get_stop_source() : tandem::stop_source(std::stop_source(std::nostopstate));
}
const std::string& process_handle::name() const noexcept {
  static const std::string none;
  return core_ ? core_->name() : none;
}
pid_t process_handle::id() const noexcept { return core_ ? core_->id() : 0; }
int process_handle::native_handle() const noexcept { return core_ ? core_->pidfd() : -1; }

void process_handle::signal(int number) const {
  if (!core_)
    throw std::system_error(std::make_error_code(std::errc::no_such_process), "tandem: signal to an empty process");
  core().signal(number);
}
void process_handle::kill() const {
  if (!core_)
    throw std::system_error(std::make_error_code(std::errc::no_such_process), "tandem: kill of an empty process");
  core().kill();
}

}  // namespace tandem::detail
