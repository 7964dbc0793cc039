#include "worker/process_core.hpp"

#include <cerrno>
#include <cstring>
#include <future>
#include <stdexcept>

#include <tandem/error.hpp>

#include "observe/log.hpp"
#include "os/kernel.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/fork_watch.hpp"
#include "worker/protocol.hpp"
#include "worker/runtime.hpp"

namespace tandem::detail {

namespace {

constexpr int sigterm = 15;
constexpr int sigkill = 9;
constexpr int sigstop = 19;
constexpr int most_signal = 64;

std::string name_or_number(const std::string& given) {
  static std::atomic<unsigned> number{0};
  return given.empty() ? "process-" + std::to_string(number.fetch_add(1, std::memory_order_relaxed) + 1) : given;
}

}  // namespace

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

process_core::process_core(process_start options, std::vector<std::byte> call)
    : runtime_(&worker::runtime::get()),
      options_(std::move(options)),
      name_(name_or_number(options_.name)),
      epoch_(worker::fork_epoch()) {
  if (options_.name.size() > worker::most_name_bytes || options_.name.find('\0') != std::string::npos) {
    throw std::invalid_argument("tandem: a name may have 255 bytes, and no zero byte among them");
  }
  since_ = clock::now();
  start(std::move(call));
  if (!lost_) telling_.emplace(stops_.get_token(), told_worker{page_});
  enlist();
}

void process_core::start(std::vector<std::byte> call) {
  file_descriptor memfd;
  if (call.size() > worker::most_inline_bytes) {
    memfd = file_descriptor(static_cast<int>(os::check(os::anonymous_file("tandem call", 0), "memfd_create")));
    os::check(os::write_at(memfd.get(), call, 0), "pwrite");
    call = {};
  }
  constexpr int most_servers = 3;
  for (int servers = 0; servers < most_servers; ++servers) {
    if (try_start(call, memfd.get())) return;
  }
  throw tandem::error("tandem: the fork server died " + std::to_string(most_servers) +
                      " times while it started one process");
}

// False if the server died before anything of the worker ran.
bool process_core::try_start(std::span<const std::byte> call, int memfd) {
  link_ = runtime_->link();
  slot_ = runtime_->slots().take();
  page_ = &runtime_->slots().page(slot_);
  const worker::request asked{worker::request_kind::start, slot_, static_cast<std::uint32_t>(name_.size()),
                              memfd < 0 ? 0U : 1U};
  worker::server_link::answer answer;
  try {
    answer = link_->ask(asked, std::as_bytes(std::span(name_)), call, memfd);
  } catch (...) {
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
    os::throw_failed(std::string(worker::get_text(answer.said.operation)).c_str(), answer.said.error,
                     "no process was started");
  }
  pid_ = answer.said.pid;
  pidfd_ = std::move(answer.descriptor);
  if (!pidfd_) {
    link_->ask({worker::request_kind::abandon, slot_});
    runtime_->slots().give_back(slot_, true);
    os::throw_failed("recvmsg", EMFILE, "no descriptor is free for the pidfd of a new process; it was ended again");
  }
  return true;
}

process_core::~process_core() {
  if (!of_this_process()) return;
  strike();
  telling_.reset();
  if (!lost_) runtime_->slots().give_back(slot_, !link_->broken());
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

void process_core::join() { join_until(os::never); }

bool process_core::join_until(clock::time_point deadline) {
  if (!ended(deadline)) return false;
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

std::vector<std::byte> process_core::take() {
  join();
  const std::lock_guard lock(mutex_);
  collect();
  if (taken_) throw std::future_error(std::future_errc::future_already_retrieved);
  taken_ = true;
  if (failure_) std::rethrow_exception(failure_);
  if (status_.kind() == ending::threw) rethrow_encoded(result_);
  if (status_.kind() == ending::exited) throw worker_exited(*report_);
  if (status_.kind() == ending::signalled) throw worker_crashed(*report_);
  return std::move(result_);
}

void process_core::collect() {
  if (collected_) return;
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
    result_.assign(page_->result.begin(), page_->result.begin() + size);
    return;
  }
  auto answer = link_->ask({worker::request_kind::fetch, slot_});
  try {
    if (answer.how != worker::server_link::outcome::answered) {
      throw tandem::error("tandem: the fork server died with the result of " + name_ +
                          ", which was too large for a page");
    }
    if (answer.said.error != 0 || !answer.descriptor) {
      const int error = answer.said.error != 0 ? answer.said.error : EMFILE;
      os::throw_failed("recvmsg", error, "no descriptor was free for the result of " + name_);
    }
    result_.resize(static_cast<std::size_t>(os::check(os::size_of(answer.descriptor.get()), "fstat")));
    os::check(os::read_at(answer.descriptor.get(), result_, 0), "pread");
  } catch (...) {
    result_ = {};
    failure_ = std::current_exception();  // the server has given it away, so it cannot be asked again
  }
}

void process_core::collect_death() {
  bool known = false;
  if (!lost_) known = link_->ask({worker::request_kind::sync}).how == worker::server_link::outcome::answered;
  const worker::ending_line& line = runtime_->slots().line(slot_);
  known = known && line.reaped.load(std::memory_order_acquire) == 1;
  crash_report report;
  if (!known) {
    status_ = exit_status::make(ending::signalled, sigkill, cause::host_lost);
  } else if (line.value < 0) {
    const int number = -line.value;
    const bool ours = number <= most_signal && ((sent_.load() >> (number - 1)) & 1) != 0;
    status_ = exit_status::make(ending::signalled, number, ours ? cause::requested : cause::none);
  } else {
    status_ = exit_status::make(ending::exited, line.value);
  }
  report.status = status_;
  report.task = name_;
  report.worker = name_;
  report.pid = pid_;
  if (known) {
    report.usage = {nanoseconds(line.cpu_ns), static_cast<std::size_t>(line.peak_bytes)};
  }
  if (!lost_) {
    report.exception_type = worker::get_text(page_->exception_type);
    report.message = worker::get_text(page_->exception_what);
  }
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
  if (os::send_signal(pidfd_.get(), sigstop) < 0) return send(sigkill);
  try {
    os::kill_descendants_of(pid_);
  } catch (const std::bad_alloc&) {  // then they are orphans, which end with this program
  }
  send(sigkill);
}

void process_core::finish() noexcept {
  try {
    if (!joined()) stops_.request_stop();
    if (!joined() && !wait_ended(deadline_after(options_.stop_grace))) {
      send(sigterm);
      if (!wait_ended(deadline_after(options_.kill_grace))) kill();
    }
  } catch (...) {  // not allowed to signal it (it changed its user): all that is left is to wait
  }
  while (!joined() && !wait_ended(os::never)) {
  }
  try {
    const std::lock_guard lock(mutex_);
    collect();     // for its messages
  } catch (...) {  // nobody will ask any more
  }
}

worker_info process_core::describe() const { return {pid_, name_, true, {}, since_, os::resident_bytes(pid_)}; }

// ---- the handle ---------------------------------------------------------------------------------------------------

process_handle::process_handle() noexcept = default;
process_handle::process_handle(process_start options, std::vector<std::byte> call)
    : core_(std::make_unique<process_core>(std::move(options), std::move(call))) {}
process_handle::process_handle(process_handle&&) noexcept = default;

process_handle& process_handle::operator=(process_handle&& other) noexcept {
  if (this != &other) {
    const process_handle ending(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}

process_handle::~process_handle() {
  if (core_ && core_->of_this_process()) core_->finish();
}

process_core& process_handle::core() const {
  if (!core_) throw_empty_join();
  if (!core_->of_this_process()) throw tandem::error("tandem: this process belongs to the program that fork() copied");
  return *core_;
}

void process_handle::join() const { core().join(); }
bool process_handle::join_until(clock::time_point deadline) const { return core().join_until(deadline); }
std::vector<std::byte> process_handle::take() const {
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
  return tandem::stop_source(core_ ? core().stops() : std::stop_source(std::nostopstate));
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
