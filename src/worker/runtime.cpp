#include "worker/runtime.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

#include <tandem/error.hpp>

#include "observe/log.hpp"
#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/session.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/child_side.hpp"
#include "worker/fork_watch.hpp"
#include "worker/fresh_image.hpp"
#include "worker/server.hpp"
#include "worker/service.hpp"

namespace tandem::worker {

namespace {

std::atomic<runtime*> current{nullptr};  // never deleted: units of static duration may outlive any order of destruction
std::mutex making;

[[noreturn]] void throw_threads_run(const char* what_fails) {
  throw not_initialised(std::string("tandem: ") + what_fails +
                        " while other threads run: the fork server is a copy of this program, and could copy a lock "
                        "that one of them holds. "
                        "Write tandem::init(); as the first line of main (a test program without a main of its own: "
                        "link tandem::gtest_main; a "
                        "library: link tandem::init_before_main).");
}

void require_role() {
  if (os::current_role() == os::role::detached) {
    throw not_initialised(
        "tandem: this process is a copy that fork() made of one that uses tandem; it cannot start workers. Start them "
        "in the "
        "original, or exec a program that calls tandem::init().");
  }
  if (os::current_role() == os::role::keeper) {
    throw not_initialised(
        "tandem: the preload function cannot start worker processes; start them after tandem::init().");
  }
  if (awaits_init()) {
    throw not_initialised(
        "tandem: this process is a fresh image of the program, which was started to run one function, and its main "
        "uses "
        "tandem before it calls tandem::init(). Write tandem::init(); as the first line of main.");
  }
}

// Started by a server, to which it has a door; else it makes a keeper of its own.
bool started_by_server() {
  const own_worker* self = this_process();
  return self != nullptr && self->of_server;
}

bool called_by_program = false;  // init(), in main

bool other_threads_run() { return os::thread_count() - service_threads() > 1; }

}  // namespace

runtime& runtime::make(init_options options) {
  if (os::current_role() != os::role::worker) os::require_kernel();
  sync::session();  // before the first clone, so that all have it
  std::unique_ptr<runtime> made(new runtime(std::move(options)));
  if (!started_by_server()) {
    watch_forks();
    made->start_keeper();
  }
  made->link();
  current.store(made.get(), std::memory_order_release);
  return *made.release();
}

runtime& runtime::get() {
  require_role();
  if (runtime* made = current.load(std::memory_order_acquire)) return *made;
  const std::lock_guard lock(making);
  if (runtime* made = current.load(std::memory_order_acquire)) return *made;
  if (!started_by_server() && other_threads_run()) throw_threads_run("the first worker process was to start");
  return make({});
}

void runtime::initialise(init_options options) {
  called_by_program = true;  // also for what a fresh image starts
  if (awaits_init()) run_fresh_image();
  require_role();
  if (os::current_role() == os::role::worker) return;
  const std::lock_guard lock(making);
  if (const runtime* made = current.load(std::memory_order_acquire)) {
    if (options.pid_namespace && !made->has_namespace()) {
      throw std::logic_error(
          "tandem::init: the fork server runs already, outside of a PID namespace. Call init with .pid_namespace "
          "before "
          "any other init and before the first worker process.");
    }
    if (options.preload) {
      throw std::logic_error(
          "tandem::init: the fork server runs already, so this preload would never run. Call init with it once, before "
          "any "
          "other init and before the first worker process.");
    }
    return;
  }
  if (other_threads_run()) throw_threads_run("tandem::init() was called");
  make(std::move(options));
}

void runtime::forget_connections() noexcept {
  if (current.load(std::memory_order_relaxed) == nullptr) return;
  runtime* original = current.exchange(nullptr);
  os::close(original->control_.get());
  os::close(original->keeper_.get());
  if (original->link_) os::close(original->link_->descriptor());
}

// ---- the keeper ---------------------------------------------------------------------------------------------------

void runtime::start_keeper() {
  const parked_service parked;
  flush_before_copy(false);
  // A heap that grows only after the clone lies in two maps, each of which every start copies.
  void* volatile room = std::malloc(std::size_t{96} * 1024);
  std::free(room);
  std::array<file_descriptor, 2> ends;
  os::check(os::socket_pair(ends), "socketpair");
  file_descriptor own(static_cast<int>(os::check(os::pidfd_of(os::own_pid()), "pidfd_open")));
  file_descriptor keeper;
  const pid_t pid = static_cast<pid_t>(os::check(os::fork_unseen(keeper), "clone3"));
  if (pid == 0) {
    new (&making) std::mutex;  // the original holds it
    ends[0] = {};
    run_keeper(std::move(ends[1]), std::move(own), slots_, options_);
  }
  ends[1] = {};
  control_ = std::move(ends[0]);
  keeper_ = std::move(keeper);
  await_preload();
}

void runtime::watch_copy(int pidfd, std::uint32_t process) noexcept {
  if (!started_by_server()) return;  // it has told the keeper itself
  const door_message message{door_kind::watch, process};
  if (os::send(this_process()->door, {bytes_of(message)}, std::span(&pidfd, 1)) < 0)
    observe::log(log_level::warning,
                 "the end of a copy of this worker may go unseen by others: its fork server is gone");
}

file_descriptor runtime::keeper_connection() {
  if (started_by_server()) return {};
  const std::lock_guard lock(mutex_);
  return control_;
}

void runtime::require_init_in_main() const {
  if (called_by_program) return;
  throw not_initialised(
      "tandem: start_method::spawn starts this program afresh, and its main would run again instead of the function: "
      "it "
      "does not call tandem::init(). Write tandem::init(); as the first line of main (a library: link "
      "tandem::init_before_main).");
}

void runtime::report_keeper_death() {
  const os::ended_child ended = os::reap(keeper_.get());
  crash_report report;
  report.task = options_.preload ? "tandem::init, preload" : "tandem::init";
  report.worker = "keeper";
  report.status = ended.value < 0 ? exit_status::make(ending::signalled, -ended.value)
                                  : exit_status::make(ending::exited, ended.value);
  if (ended.value < 0) throw worker_crashed(std::move(report));
  throw worker_exited(std::move(report));
}

[[noreturn]] static void throw_no_namespace(int error) {
  if (error == EAGAIN || error == ENOMEM || error == EMFILE) os::throw_failed(namespace_operation, error);
  throw unsupported("tandem: this system gives this user no PID namespace (" + std::generic_category().message(error) +
                    "). Run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone, "
                    "user.max_user_namespaces; in a container, its seccomp profile), or call tandem::init() without "
                    ".pid_namespace");
}

runtime::keeper_answer runtime::hear_keeper(std::vector<std::byte>& rest) {
  std::vector<std::byte> buffer(sizeof(keeper_message) + most_exception_bytes);
  os::message got = os::receive_answer(control_.get(), buffer);
  keeper_answer answer;
  if (got.size == 0 || !read_message(answer.said, std::span(buffer.data(), static_cast<std::size_t>(got.size)))) {
    answer.gone = true;
    return answer;
  }
  rest.assign(buffer.begin() + sizeof(keeper_message), buffer.begin() + got.size);
  if (!got.descriptors.empty()) answer.descriptor = std::move(got.descriptors[0]);
  answer.descriptor_lost = got.descriptors_lost;
  return answer;
}

void runtime::await_preload() {
  std::vector<std::byte> rest;
  const keeper_answer answer = hear_keeper(rest);
  if (answer.gone) report_keeper_death();
  if (answer.said.word == keeper_word::ready) return;
  os::reap(keeper_.get());
  if (answer.said.word == keeper_word::preload_threw) detail::rethrow_encoded(rest);
  os::throw_failed(std::string(get_text(answer.said.operation)).c_str(), answer.said.error);
}

file_descriptor runtime::ask_keeper() {
  for (bool restarted = false;; restarted = true) {
    keeper_answer answer;
    const keeper_message please{keeper_word::server};
    const int sent = os::send(control_.get(), {bytes_of(please)});
    std::vector<std::byte> rest;
    if (sent == 0) {
      answer = hear_keeper(rest);
    } else if (sent == -EPIPE || sent == -ECONNRESET) {
      answer.gone = true;
    } else {
      os::throw_failed("sendmsg", -sent);
    }
    if (!answer.gone) {
      if (answer.said.word == keeper_word::failed) {
        if (get_text(answer.said.operation) == namespace_operation) throw_no_namespace(answer.said.error);
        os::throw_failed(std::string(get_text(answer.said.operation)).c_str(), answer.said.error);
      }
      if (!answer.descriptor)
        os::throw_failed("recvmsg", EMFILE, "no descriptor is free for the socket of the fork server");
      return std::move(answer.descriptor);
    }
    if (restarted) throw tandem::error("tandem: the keeper of the fork server died twice in a row");
    if (other_threads_run()) {
      throw not_initialised(
          "tandem: both the fork server and its keeper were killed, and they cannot be made again while other threads "
          "run. "
          "No worker process can be started until this program is.");
    }
    os::reap(keeper_.get());
    start_keeper();
  }
}

// ---- the server ---------------------------------------------------------------------------------------------------

file_descriptor runtime::open_door() {
  std::array<file_descriptor, 2> ends;
  os::check(os::socket_pair(ends), "socketpair");
  os::check(os::tell_sender(ends[1].get()), "setsockopt(SO_PASSCRED)");
  const door_message message{door_kind::connect};
  const std::array<int, 2> given = {ends[1].get(), slots_.descriptor()};
  os::check(os::send(this_process()->door, {bytes_of(message)}, given), "sendmsg");
  return std::move(ends[0]);
}

std::shared_ptr<server_link> runtime::link() {
  const std::lock_guard lock(mutex_);
  constexpr int most_servers = 3;
  for (int servers = 0; !link_ || link_->broken(); ++servers) {
    if (servers == most_servers) {
      throw tandem::error("tandem: the fork server cannot start: " + std::to_string(most_servers) +
                          " of them ended before they had answered once; memory or descriptors may be short");
    }
    link_ = std::make_shared<server_link>(started_by_server() ? open_door() : ask_keeper());
    link_->ask({request_kind::sync});  // it is there, or broken() says that it is not
  }
  return link_;
}

}  // namespace tandem::worker
