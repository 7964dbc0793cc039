// The workers of a pool: their starts, their last ends, what is done when tasks take too long. But for the first starts and
// the last ends, all of it is done by the service thread.
#include <algorithm>
#include <cmath>
#include <utility>

#include <tandem/error.hpp>
#include <tandem/init.hpp>

#include "observe/log.hpp"
#include "os/kernel.hpp"
#include "pool/process_pool_core.hpp"
#include "pool/waiting.hpp"
#include "worker/current_task.hpp"
#include "worker/fork_watch.hpp"

namespace tandem::pools {

namespace {

clock::time_point later(clock::time_point from, nanoseconds by) noexcept {
  return by >= os::never - from ? os::never : from + by;
}

}  // namespace

// Hears of one worker; once, then it is listened to anew.
class process_pool_core::ear final : public worker::listener {
 public:
  using hearer = void (process_pool_core::*)(const worker_pointer&);
  ear(std::weak_ptr<process_pool_core> core, std::weak_ptr<host_worker> worker, hearer call)
      : core_(std::move(core)), worker_(std::move(worker)), call_(call) {}
  void hear() noexcept override {
    const auto core = core_.lock();
    const auto one = worker_.lock();
    if (core && one) ((*core).*call_)(one);
  }

 private:
  std::weak_ptr<process_pool_core> core_;
  std::weak_ptr<host_worker> worker_;
  hearer call_;
};

// By the clock, and by request.
struct process_pool_core::maintenance final : worker::alarm, detail::posted {
  explicit maintenance(process_pool_core& c) noexcept : core(c) {}
  void ring() noexcept override {
    {
      const std::lock_guard lock(core.mutex_);
      core.alarm_due_ = os::never;
    }
    core.maintain();
  }
  void run() noexcept override {
    const std::shared_ptr<process_pool_core> kept = std::move(self);
    {
      const std::lock_guard lock(core.mutex_);
      is_posted = false;
    }
    kept->maintain();
  }
  process_pool_core& core;
  bool is_posted = false;                   // under the pool's lock
  std::shared_ptr<process_pool_core> self;  // while it is posted
};

process_pool_core::process_pool_core(process_pool_options options)
    : options_(std::move(options)),
      epoch_(worker::fork_epoch()),
      spin_ns_(spin_nanoseconds()),
      random_(static_cast<unsigned>(clock::now().time_since_epoch().count())) {
  if (options_.workers == 0) options_.workers = worker::own_cpus();
  if (options_.max_pending == 0) options_.max_pending = 65'536;
  if (options_.name.empty()) options_.name = "pool";
  const bool all_at_once = options_.workers < available_cpus();
  shape_.fresh_image = options_.start == start_method::spawn;
  shape_.stop_grace = options_.stop_grace;
  shape_.kill_grace = options_.kill_grace;
  shape_.initializer = options_.initializer;
  // With more of them than CPUs, whoever spins may keep from running what it waits for.
  shape_.spin_ns = all_at_once ? spin_ns_ : spin_ns_ / 2;
  shape_.yields = all_at_once ? 0 : 1;
  shape_.workers = options_.workers;
  shape_.most_memory_bytes = options_.max_worker_memory;
  seats_.resize(options_.workers);
  maintenance_ = std::make_unique<maintenance>(*this);
}

process_pool_core::~process_pool_core() = default;

void process_pool_core::start() {
  hold_.emplace();
  const bool shrinks = options_.idle_timeout > nanoseconds::zero();
  wanted_ = shrinks ? std::min(std::max(1U, options_.min_workers), options_.workers) : options_.workers;
  try {
    for (unsigned i = 0; i < wanted_; ++i) {
      worker_pointer w = start_worker();
      const std::lock_guard lock(mutex_);
      w->seat = i;
      seats_[i].worker = std::move(w);
    }
  } catch (...) {
    end();
    throw;
  }
  const std::lock_guard lock(mutex_);
  started_ = true;
  post_maintenance();
}

// Of those that were used before: nobody sleeps there, and no result is there.
std::shared_ptr<region_map> process_pool_core::take_region() {
  {
    const std::lock_guard lock(mutex_);
    for (const std::shared_ptr<region_map>& one : regions_) {
      if (one.use_count() != 1) continue;
      std::shared_ptr<region_map> taken = one;
      taken->renew();
      return taken;
    }
  }
  auto made = std::make_shared<region_map>();
  const std::lock_guard lock(mutex_);
  regions_.push_back(made);
  return made;
}

worker_pointer process_pool_core::start_worker() {
  worker_shape shape = shape_;
  if (options_.max_tasks_per_worker != 0) {
    // Not all at once: up to a tenth earlier.
    const std::size_t most = std::min<std::size_t>(options_.max_tasks_per_worker, ~std::uint32_t{0});
    const std::lock_guard lock(mutex_);
    shape.most_tasks = static_cast<std::uint32_t>(most - (most / 10 != 0 ? random_() % (most / 10) : 0));
  }
  const unsigned number = names_.fetch_add(1, std::memory_order_relaxed) + 1;
  auto w = std::make_shared<host_worker>(shape, options_.name + "-" + std::to_string(number), take_region());
  // Its server died while it was started: it never began, or its end is not to be seen.
  if (w->process().native_handle() < 0) throw tandem::error("tandem: the fork server died while it started a worker");
  w->pool = weak_from_this();
  if (options_.max_worker_age > nanoseconds::zero()) {
    const std::lock_guard lock(mutex_);
    const double part = 0.9 + 0.1 * static_cast<double>(random_()) / static_cast<double>(std::minstd_rand::max());
    const double age = static_cast<double>(options_.max_worker_age.count()) * part;
    w->retire_at = later(w->since(), nanoseconds(static_cast<std::int64_t>(age)));
    set_alarm_at(w->retire_at);
  }
  w->end_listener = std::make_shared<ear>(weak_from_this(), w, &process_pool_core::hear_end);
  w->ring_listener = std::make_shared<ear>(weak_from_this(), w, &process_pool_core::hear_ring);
  worker::listen(w->process().native_handle(), w->end_listener);
  try {
    worker::listen(w->socket(), w->ring_listener);
  } catch (...) {
    worker::forget(w->process().native_handle());
    throw;
  }
  w->list();
  return w;
}

void process_pool_core::drop_listeners(host_worker& w) noexcept {
  worker::forget(w.process().native_handle());
  worker::forget(w.socket());
}

// ---- by request, and by the clock ---------------------------------------------------------------------------------

// Under the lock.
void process_pool_core::post_maintenance() noexcept {
  if (maintenance_->is_posted || stopping_) return;
  maintenance_->is_posted = true;
  maintenance_->self = shared_from_this();
  worker::post(*maintenance_);
}

// Under the lock.
void process_pool_core::set_alarm_at(clock::time_point due) noexcept {
  if (due >= alarm_due_ || stopping_) return;
  alarm_due_ = due;
  worker::set_alarm(*maintenance_, due);
}

void process_pool_core::hear_ring(const worker_pointer& w) {
  const std::lock_guard serving(service_mutex_);
  bool listens = false;
  {
    section s(*this);
    if (stopping_) return;
    w->map()->rung.store(0, std::memory_order_seq_cst);  // then look: what is rung for later, is rung for again
    listens = w->drain();
    sweep(s);
    refill(s);
    share_out(s);
    update_rings();
    tell_space();
  }
  try {
    if (listens) return worker::listen(w->socket(), w->ring_listener);
  } catch (...) {  // no memory: a worker that is not heard is of no use
  }
  // It has closed its end, or it cannot be listened to; if it has ended, that is heard of otherwise.
  section s(*this);
  if (!w->active()) return;
  w->leaving = true;
  if (w->down.rung < 1) w->down = {w->down.why, 1, w->claimed_index(), later(clock::now(), options_.kill_grace)};
  set_alarm_at(w->down.next);
}

void process_pool_core::maintain() {
  const std::lock_guard serving(service_mutex_);
  std::vector<std::pair<worker_pointer, int>> to_signal;
  {
    section s(*this);
    if (stopping_ || !started_) return;
    sweep(s);
    refill(s);
    share_out(s);
    const clock::time_point next = step_workers(s, to_signal);
    constexpr nanoseconds soonest = std::chrono::microseconds(100);  // a moment that has passed would ring for ever
    if (next != os::never) set_alarm_at(std::max(next, deadline_after(soonest)));
  }
  for (auto& [w, number] : to_signal) {
    try {
      if (number == sigkill) {
        w->process().kill();
      } else {
        w->process().signal(number);
      }
    } catch (const std::exception& e) {
      observe::log(log_level::warning, w->name() + " could not be ended yet: " + e.what());
      const std::lock_guard lock(mutex_);
      if (number == sigkill && w->down.why == ladder::reason::out_of_time) --killed_;
      --w->down.rung;
      w->down.next = later(clock::now(), std::chrono::milliseconds(10));
      set_alarm_at(w->down.next);
    }
  }
  to_signal.clear();
  fill_seats();
}

// ---- tasks that take too long -------------------------------------------------------------------------------------

clock::time_point process_pool_core::step_workers(section& s, std::vector<std::pair<worker_pointer, int>>& to_signal) {
  clock::time_point next = os::never;
  std::vector<worker_pointer> all;
  each_worker([&](const worker_pointer& w) { all.push_back(w); });
  for (const worker_pointer& w : all) {
    next = std::min(next, look_at_task(s, *w));
    next = std::min(next, step_ladder(s, w, to_signal));
    retire_old(s, w);
    if (!w->leaving && w->retire_at > clock::now()) next = std::min(next, w->retire_at);
    if (!w->leaving && options_.idle_timeout > nanoseconds::zero() && w->is_empty() &&
        living_seats() > options_.min_workers) {
      const clock::time_point due = later(w->idle_since, options_.idle_timeout);
      if (due > clock::now()) next = std::min(next, due);
    }
  }
  return next;
}

// When its deadline is to be looked at again.
clock::time_point process_pool_core::look_at_task(section& s, host_worker& w) {
  const clock::time_point now = clock::now();
  clock::time_point next = os::never;
  w.each_slot([&](std::uint32_t index) {
    const task_pointer& task = w.at(index);
    if (!task || task->request.deadline <= nanoseconds::zero()) return;
    clock::time_point due = later(now, task->request.deadline);
    if (step_of(w.word_at(index)) == step::claimed) {
      const std::int64_t started = w.started_ns(index);
      const auto since = clock::time_point(nanoseconds(started));
      if (started > 0 && since < now) due = later(since, task->request.deadline);
      if (due <= now) {
        begin_ladder(w, index, ladder::reason::deadline);
        w.request_stop(index);
        s.finish(w.leave(index), fate::late);
        return;
      }
    }
    next = std::min(next, due);
  });
  return next;
}

// It gets no task meanwhile, so that it is known what is ended with it.
void process_pool_core::begin_ladder(host_worker& w, std::uint32_t index, ladder::reason why) {
  w.down = {why, 0, index, later(clock::now(), options_.stop_grace)};
  set_alarm_at(w.down.next);
  post_maintenance();
}

clock::time_point process_pool_core::step_ladder(section& s, const worker_pointer& w,
                                                 std::vector<std::pair<worker_pointer, int>>& to_signal) {
  if (w->down.next == os::never) return os::never;
  if (w->down.rung == 0 && w->down.why != ladder::reason::none) {
    if (put_back(*w)) refill(s);
  }
  const clock::time_point now = clock::now();
  if (now < w->down.next) return w->down.next;
  if (w->down.rung == 0) {
    w->leaving = true;
    if (w->claimed_index() != w->down.index) {  // it has ended just now
      w->leaving = false;
      w->down = {};
      return os::never;
    }
  }
  const int number = w->down.rung == 0 ? sigterm : sigkill;
  if (number == sigkill && w->down.why == ladder::reason::out_of_time) ++killed_;
  to_signal.emplace_back(w, number);
  w->down.next = number == sigterm ? later(now, options_.kill_grace) : os::never;
  ++w->down.rung;
  return w->down.next;
}

void process_pool_core::retire_old(section& s, const worker_pointer& w) {
  // While as many are on their way out as there are seats, no more: their ends have to be heard, and maintenance follows.
  if (w->leaving || retiring_.size() >= seats_.size()) return;
  const clock::time_point now = clock::now();
  bool old = now >= w->retire_at;
  if (old && w->finished == 0 && !w->is_empty()) {
    // It does one task at least: with workers that are old before they have begun, nothing would ever be done.
    w->each_slot([&](std::uint32_t index) {
      w->watch(index);
      if (has_ended(w->word_at(index))) post_maintenance();
    });
    old = false;
  }
  if (!old && options_.idle_timeout > nanoseconds::zero() && w->is_empty() &&
      now >= later(w->idle_since, options_.idle_timeout) && living_seats() > options_.min_workers) {
    old = true;
    wanted_ = std::min(wanted_, std::max(living_seats() - 1, options_.min_workers));
  }
  if (!old) return;
  w->leaving = true;
  w->map()->quit.store(1, std::memory_order_seq_cst);
  s.wake(*w);
  for (seat& one : seats_) {
    if (one.worker == w) one.worker = nullptr;
  }
  retiring_.push_back(w);
  if (put_back(*w)) refill(s);
}

// What it has not begun waits, before all others, and goes elsewhere. True if there was something.
bool process_pool_core::put_back(host_worker& w) {
  std::vector<task_pointer> taken = w.take_back_all([](const process_task&) { return false; });
  placed_count_ -= taken.size();
  for (auto task = taken.rbegin(); task != taken.rend(); ++task) add_pending(*task, true);
  return !taken.empty();
}

// ---- starts -------------------------------------------------------------------------------------------------------

bool process_pool_core::wants_worker(const seat& one) const {
  if (one.worker) return false;
  if (!one.keyed.empty()) return true;
  return living_seats() < wanted_;
}

unsigned process_pool_core::living_seats() const noexcept {
  const auto living = std::count_if(seats_.begin(), seats_.end(), [](const seat& s) { return s.worker != nullptr; });
  return static_cast<unsigned>(living);
}

// In the service thread, without the lock: a start takes its time.
void process_pool_core::fill_seats() {
  for (;;) {
    bool for_seat = false;
    {
      section s(*this);
      if (stopping_ || failure_) return;
      for (seat& one : seats_) {
        if (one.worker && one.worker->leaving) {  // it is ended, and its seat free
          const worker_pointer w = std::exchange(one.worker, nullptr);
          retiring_.push_back(w);
          put_back(*w);
        }
        if (!wants_worker(one)) continue;
        if (spares_.empty()) {
          for_seat = true;
          continue;
        }
        one.worker = std::move(spares_.back());
        spares_.pop_back();
        one.worker->seat = static_cast<std::size_t>(&one - seats_.data());
        one.worker->idle_since = clock::now();
        rings_dry_ = rings_each_ = false;  // of this one
        update_rings();
      }
      refill(s);
      share_out(s);
      const bool for_spare = spares_.size() < options_.spares;
      if (!for_seat && !for_spare) return;
      const clock::time_point now = clock::now();
      if (now < not_before_) return set_alarm_at(not_before_);
    }
    try {
      worker_pointer w = start_worker();
      const std::lock_guard lock(mutex_);
      spares_.push_back(std::move(w));
      start_failures_ = 0;
      if (discouraging_ends() > 1) not_before_ = later(clock::now(), back_off(discouraging_ends()));
    } catch (...) {
      section s(*this);
      ++start_failures_;
      not_before_ = later(clock::now(), back_off(start_failures_ + 1));
      const bool none_lives =
          std::none_of(seats_.begin(), seats_.end(), [](const seat& x) { return x.worker != nullptr; });
      constexpr unsigned most_failures = 12;  // by then seconds have passed in which nobody could be started
      if (none_lives && start_failures_ >= most_failures) fail_waiting(s, std::current_exception());
      if (for_seat || start_failures_ < most_failures) set_alarm_at(not_before_);
      return;
    }
  }
}

// Twice as long each time, up to a second, and not the same for all.
nanoseconds process_pool_core::back_off(unsigned times) {
  constexpr nanoseconds first = std::chrono::milliseconds(1);
  constexpr unsigned most_doublings = 10;
  const std::int64_t most = first.count() << std::min(times, most_doublings);
  return nanoseconds(most / 2 + static_cast<std::int64_t>(random_()) % (most / 2 + 1));
}

// ---- the end ------------------------------------------------------------------------------------------------------

void process_pool_core::end() noexcept {
  close();
  wait_until(os::never);
  std::vector<worker_pointer> all;
  {
    // The service thread is not at it, and will not begin.
    const std::lock_guard serving(service_mutex_);
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    each_worker([&](const worker_pointer& w) { all.push_back(w); });
    all.insert(all.end(), spares_.begin(), spares_.end());
    for (seat& one : seats_) one.worker = nullptr;
    spares_.clear();
    retiring_.clear();
  }
  worker::take_back(*maintenance_);
  std::vector<detail::process_handle*> handles;
  for (const worker_pointer& w : all) {
    drop_listeners(*w);
    w->map()->quit.store(1, std::memory_order_seq_cst);
    host_worker::wake(*w->map());
    handles.push_back(&w->process());
  }
  detail::finish_all(handles);
  all.clear();
  hold_.reset();
}

}  // namespace tandem::pools
