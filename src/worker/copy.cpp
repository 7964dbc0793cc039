// fork_options: a child that is a copy of this program as it is now, made by the program itself.
#include <cerrno>

#include <tandem/error.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/memory_claims.hpp"
#include "sync/session.hpp"
#include "worker/child_side.hpp"
#include "worker/current_unit.hpp"
#include "worker/fork_watch.hpp"
#include "worker/process_core.hpp"
#include "worker/protocol.hpp"
#include "worker/runtime.hpp"
#include "worker/service.hpp"
#include "worker/unit_name.hpp"

namespace tandem::detail {

process_core::process_core(process_start options, copied_call call)
    : runtime_(&worker::runtime::get()),
      options_(std::move(options)),
      name_(worker::name_or_number(options_.name, "process-", numbers)),
      epoch_(worker::fork_epoch()),
      copied_(true) {
  prepare();
  copy(call);
  telling_.emplace(stops_.get_token(), told_worker{page_});
  enlist();
}

void process_core::copy(const copied_call& call) {
  const worker::parked_service parked;
  const bool threads_run = os::thread_count() - worker::service_threads() > 1;
  if (threads_run && !call.allow_threads) {
    throw unsafe_fork(
        "tandem: a copy of this program was asked for while other threads run: whatever lock one of them holds would "
        "stay held in the copy for ever. Start it from the fork server (without fork_options), or earlier, or set "
        ".allow_threads = true if the function needs no lock of anybody's");
  }
  std::array<file_descriptor, 2> door;
  os::check(os::socket_pair(door), "socketpair");
  slot_ = runtime_->slots().take();
  page_ = &runtime_->slots().page(slot_);
  process_ = sync::take_process(sync::this_domain());
  try {
    parent_ = file_descriptor(static_cast<int>(os::check(os::pidfd_of(os::own_pid()), "pidfd_open")));
    keeper_ = runtime_->keeper_connection();
    worker::flush_before_copy(threads_run);
    pid_ = static_cast<pid_t>(os::check(threads_run ? os::fork_with_threads(pidfd_) : os::fork_unseen(pidfd_), "fork"));
    if (pid_ == 0) be_the_copy(call, std::move(door[1]));
  } catch (...) {
    sync::process_ended(process_);
    runtime_->slots().give_back(slot_, false);
    throw;
  }
  parent_ = {};
  keeper_ = {};
  door_ = std::move(door[0]);
  runtime_->watch_copy(pidfd_.get(), process_);
}

// The keeper ends it with the program. It says so itself, and not its parent, which may be killed before it could. If the
// parent lives when that was said, the keeper hears it: it listens until nothing more is there, once the parent is gone.
void process_core::tell_keeper() noexcept {
  if (!keeper_) return;
  worker::keeper_message message{worker::keeper_word::watch};
  message.pid = os::own_pid();
  message.process = process_;
  const int own = os::pidfd_of(message.pid);
  // A keeper that is gone can end nobody; the next start makes another. Nothing is logged from here: whatever lock that
  // takes may be held in the copy for ever.
  if (own >= 0) static_cast<void>(os::send(keeper_.get(), {worker::bytes_of(message)}, std::span(&own, 1)));
  os::close(own);
  keeper_ = {};
  std::array<os::ready, 1> parent{{{parent_.get()}}};
  if (os::wait_ready(parent, os::now) == 1) os::exit_now(1);
}

// noexcept: an exception must not come out of here into the program of which this is a copy.
void process_core::be_the_copy(const copied_call& call, file_descriptor door) noexcept {
  tell_keeper();
  if (worker::fork_epoch() == epoch_) worker::become_detached();  // what fork() would have called
  os::set_role(os::role::worker);
  worker::current_unit() = nullptr;
  runtime_->slots().keep_page_only(slot_);
  os::keep_from_copies(page_, worker::page_bytes);
  worker::prepare_child_side();
  worker::own_worker self;
  self.page = page_;
  self.door = door.release();
  self.of_server = false;
  self.process = process_;
  self.parent_pidfd = parent_.release();
  worker::set_text(self.name, name_);
  worker::be_worker(self);
  sync::owe_as_a_copy();
  os::name_thread(self.name.data());
  page_->state.store(static_cast<std::uint32_t>(worker::phase::begun));
  worker::run_copy(call.run, call.argument);
}

void process_core::reap_copy() {
  const std::lock_guard lock(reaping_);
  if (reaped_) return;
  reaped_ = os::reap(pidfd_.get());
  sync::process_ended(process_);
}

}  // namespace tandem::detail
