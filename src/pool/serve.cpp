#include "pool/serve.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <mutex>
#include <optional>

#include <tandem/error.hpp>

#include "os/kernel.hpp"
#include "pool/region.hpp"
#include "pool/segments.hpp"
#include "pool/waiting.hpp"
#include "sync/death_point.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/child_side.hpp"
#include "worker/current_task.hpp"
#include "worker/protocol.hpp"

namespace tandem::pools {

namespace {

using worker::bytes_of;

// Passes a stop of the task that runs on to its token. Its thread is started when the first token is asked for.
class stop_relay {
 public:
  /// Once, before the first task.
  void listen_at(region& r) noexcept { region_ = &r; }
  void begin(slot& s) noexcept { current_.store(&s, std::memory_order_release); }
  void end() noexcept {
    current_.store(nullptr, std::memory_order_release);
    if (!used_.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(mutex_);
    source_.reset();
  }
  std::stop_token token() {
    const std::lock_guard lock(mutex_);
    if (!used_.load(std::memory_order_relaxed)) start();
    if (!source_) source_.emplace();
    // One requested before there was anybody to tell; no callback is registered yet, so none runs under the lock.
    const slot* s = current_.load(std::memory_order_acquire);
    if (s != nullptr && s->stop.load(std::memory_order_acquire) != 0) source_->request_stop();
    return source_->get_token();
  }

 private:
  void start() {
    pthread_t thread{};
    const os::signal_guard blocked;  // the thread inherits the mask: signals are for the user's threads
    if (const int failed = os::start_thread(&listen, this, thread); failed < 0) {
      os::throw_failed("pthread_create", -failed, "the thread that listens for a stop could not be started");
    }
    os::leave_thread(thread);
    worker::add_stop_thread();
    used_.store(true, std::memory_order_release);
  }
  static void* listen(void* argument) {
    auto& self = *static_cast<stop_relay*>(argument);
    for (;;) {
      const std::uint32_t seen = self.region_->stop_bell.load(std::memory_order_acquire);
      self.pass_on();
      os::futex_wait(self.region_->stop_bell, seen);
    }
  }
  void pass_on() {
    std::optional<std::stop_source> stopping;
    {
      const std::lock_guard lock(mutex_);
      const slot* s = current_.load(std::memory_order_acquire);
      if (s != nullptr && s->stop.load(std::memory_order_acquire) != 0) stopping = source_;
    }
    if (stopping) stopping->request_stop();
  }

  region* region_ = nullptr;
  std::atomic<slot*> current_{nullptr};
  std::atomic<bool> used_{false};
  std::mutex mutex_;
  std::optional<std::stop_source> source_;
};

stop_relay& relay() {
  static auto* one = new stop_relay;  // its thread may run until the process has ended
  return *one;
}

std::stop_token task_token() { return relay().token(); }

struct early_handles {
  std::uint64_t ticket = 0;
  std::uint32_t lot = 0;
  std::vector<file_descriptor> handles;
  bool lost = false;  // some could not be received
};

class task_server final : public detail::block_store {
 public:
  task_server(region& r, int socket) noexcept : region_(r), socket_(socket), ticket_(r.first_ticket) {}
  void run();
  std::span<std::byte> grow(std::size_t bytes, std::span<const std::byte> kept) override;

 private:
  bool look(slot& s);
  void await(slot& s);
  void ring() noexcept;
  void execute(slot& s);
  void call(slot& s, detail::message& far, writer& out);
  std::span<const std::byte> gather(slot& s, std::vector<file_descriptor>& handles);
  void receive();
  void put_out(slot& s, std::span<const std::byte> bytes, std::span<const file_descriptor> handles);
  segment& segment_for(std::size_t bytes, std::span<const std::byte> begins);
  std::uint32_t hand_over(segment& s);
  void send(const parcel& p, std::span<const int> descriptors);
  void publish(slot& s, step how) noexcept;
  void publish_exception(slot& s, const std::exception_ptr&) noexcept;
  bool is_used_up() const;

  region& region_;
  int socket_;
  std::uint64_t ticket_;
  std::uint32_t done_ = 0;
  bool is_behind_ = false;  // something that the program has sent could not be had
  std::map<std::uint32_t, segment> in_;
  std::array<segment, most_out_segments> out_;
  segment single_;  // for one result: there is no room to keep it
  std::uint32_t single_segments_ = most_out_segments;
  std::deque<early_handles> early_;
};

// The lines of a task come while it is claimed.
void want_task(slot& s) noexcept {
  __builtin_prefetch(&s.in[0]);
  __builtin_prefetch(&s.in[64]);
  os::want_to_write(&s.out_bytes);
}

// True if the ticket was dealt with, one way or the other.
bool task_server::look(slot& s) {
  std::uint32_t w = s.state.load(std::memory_order_seq_cst);
  const std::int32_t ahead = turns_ahead(w, ticket_);
  if (ahead > 0) return true;  // taken back, and filled again meanwhile
  if (ahead < 0) return false;
  switch (step_of(w)) {
    case step::free: return false;
    case step::queued: break;
    default: return true;
  }
  want_task(s);
  // Keeps the flags. The program may take it back at the same time: one of us is first.
  if (!s.state.compare_exchange_strong(w, (w & ~step_bits) | static_cast<std::uint32_t>(step::claimed))) return look(s);
  sync::death_point("pool: claimed");
  if (region_.ring_each.load(std::memory_order_seq_cst) != 0) ring();
  execute(s);
  ++done_;
  return true;
}

void task_server::await(slot& s) {
  const std::uint32_t seen = s.state.load(std::memory_order_seq_cst);
  const std::int32_t ahead = turns_ahead(seen, ticket_);
  if (ahead > 0 || (ahead == 0 && step_of(seen) != step::free)) return;  // filled since it was looked at
  const auto changed = [&]() noexcept {
    return s.state.load(std::memory_order_seq_cst) != seen || region_.quit.load(std::memory_order_seq_cst) != 0;
  };
  const std::uint32_t cpu = own_cpu();
  region_.worker_cpu.store(cpu, std::memory_order_relaxed);
  const bool apart = region_.host_cpu.load(std::memory_order_relaxed) != cpu;
  if (look_for(apart ? region_.spin_ns : 0, region_.yields != 0, changed)) return;
  if (region_.ring_dry.load(std::memory_order_seq_cst) != 0) ring();
  // Pairs with the program's exchange of the slot's word, after which it looks at the bell.
  region_.bell.store(1, std::memory_order_seq_cst);
  while (!changed() && region_.bell.load(std::memory_order_seq_cst) == 1) os::futex_wait(region_.bell, 1);
  region_.bell.store(0, std::memory_order_relaxed);
}

void task_server::run() {
  region_.reached.store(static_cast<std::uint32_t>(phase::ready), std::memory_order_release);
  while (region_.quit.load(std::memory_order_acquire) == 0) {
    slot& s = region_.slots[ticket_ % slot_count];
    const std::uint32_t done = done_;
    if (!look(s)) {
      await(s);
      continue;
    }
    ++ticket_;
    if (done != done_ && is_used_up()) return;
  }
}

// What is queued goes to others: the program sees to it when this process has ended.
bool task_server::is_used_up() const {
  if (is_behind_) return true;
  if (region_.most_tasks != 0 && done_ >= region_.most_tasks) return true;
  return region_.most_memory_bytes != 0 && os::resident_bytes(os::own_pid()) > region_.most_memory_bytes;
}

void task_server::ring() noexcept {
  if (region_.rung.exchange(1, std::memory_order_seq_cst) != 0) return;
  const parcel p{parcel_kind::ring};
  if (os::send_now(socket_, {bytes_of(p)}) < 0) region_.rung.store(0);  // full: then it is readable over there
}

void task_server::send(const parcel& p, std::span<const int> descriptors) {
  os::check(os::send(socket_, {bytes_of(p)}, descriptors), "sendmsg");
}

// The next parcel from the program; there is one.
void task_server::receive() {
  parcel p;
  std::array<std::byte, sizeof p> bytes;
  os::message got = os::receive(socket_, bytes);
  if (got.size == 0) os::exit_now(1);  // the program is gone
  if (got.size < 0) os::throw_failed("recvmsg", static_cast<int>(-got.size));
  if (!worker::read_message(p, std::span<const std::byte>(bytes).first(static_cast<std::size_t>(got.size)))) return;
  if (p.kind == parcel_kind::segment && p.bytes == 0) {
    in_.erase(p.number);
  } else if (p.kind == parcel_kind::segment) {
    is_behind_ = true;  // the program takes it for known: after this task another worker has to take over
    if (got.descriptors.empty())
      os::throw_failed("recvmsg", EMFILE, "no descriptor is free for the memory of an argument");
    segment made(std::move(got.descriptors.front()), static_cast<std::size_t>(p.bytes));
    made.close_descriptor();
    in_.insert_or_assign(p.number, std::move(made));
    is_behind_ = false;
  } else if (p.kind == parcel_kind::handles && p.ticket >= ticket_) {
    if (early_.empty() || early_.back().lot != p.number) early_.push_back({p.ticket, p.number, {}, false});
    std::move(got.descriptors.begin(), got.descriptors.end(), std::back_inserter(early_.back().handles));
    early_.back().lost = early_.back().lost || got.descriptors_lost || got.descriptors.empty();
  }
}

std::span<const std::byte> task_server::gather(slot& s, std::vector<file_descriptor>& handles) {
  if (s.handles != 0) {
    is_behind_ = true;  // if this fails, the rest of them stays on the socket, in the way of others
    const auto is_stale = [&](const early_handles& e) { return e.ticket < ticket_ || e.lot != s.handle_lot; };
    // All of them are on the socket, before anything of a later ticket.
    for (;;) {
      while (!early_.empty() && is_stale(early_.front())) early_.pop_front();
      if (!early_.empty() && (early_.front().lost || early_.front().handles.size() >= s.handles)) break;
      receive();
    }
    if (early_.front().lost)
      os::throw_failed("recvmsg", EMFILE, "no descriptor was free for a handle among the arguments");
    handles = std::move(early_.front().handles);
    early_.pop_front();
    is_behind_ = false;
  }
  if (s.in_segment == 0) return std::span(s.in).first(std::min<std::size_t>(s.in_bytes, s.in.size()));
  while (in_.count(s.in_segment) == 0) receive();
  return in_.at(s.in_segment).bytes().first(static_cast<std::size_t>(s.in_bytes));
}

// Not in the frame of the loop: what it holds is gone when it returns.
void task_server::call(slot& s, detail::message& far, writer& out) {
  const std::span<const std::byte> bytes = gather(s, far.handles);
  reader in = detail::make_reader(bytes, far.handles);
  // SAFETY: read_code() only gives addresses of code, and the call was made by detail::make_call, which names a run_call.
  const auto entry = reinterpret_cast<detail::entry>(const_cast<void*>(detail::read_code(in)));
  entry(in, out);
}

// A child of the worker, made by fork(), that came back out of the user's function: it is none.
void leave_if_copied(int code) noexcept {
  if (worker::this_process() == nullptr) os::exit_now(code);
}

void task_server::execute(slot& s) {
  worker::current_task task{s.attempt, {}, &task_token};
  if (s.deadline_ns != 0) {
    const auto now = clock::now();
    s.started_ns.store(now.time_since_epoch().count(), std::memory_order_release);
    task.deadline = deadline_after(nanoseconds(s.deadline_ns));
  }
  relay().begin(s);
  worker::set_current_task(&task);
  try {
    writer out;
    detail::wire::store_large_in(out, *this);
    {
      detail::message far;
      call(s, far, out);
    }
    leave_if_copied(0);
    const std::span<const std::byte> bytes = detail::finished_bytes(out);
    put_out(s, bytes, detail::wire::taken_handles(std::move(out)));
    worker::set_current_task(nullptr);
    relay().end();
    publish(s, step::value);
  } catch (const abi::__forced_unwind&) {  // pthread_exit; swallowing it would abort
    throw;
  } catch (...) {
    leave_if_copied(1);
    worker::set_current_task(nullptr);
    relay().end();
    publish_exception(s, std::current_exception());
  }
}

void task_server::publish_exception(slot& s, const std::exception_ptr& exception) noexcept {
  std::vector<std::byte> bytes;
  detail::encode_exception(bytes, exception);
  try {
    put_out(s, bytes, {});
  } catch (...) {  // too long for the slot, and no memory to be had
    detail::encode_exception(bytes, std::make_exception_ptr(remote_exception(
                                        "(its exception did not fit)", "an exception that could not be handed over")));
    bytes.resize(std::min(bytes.size(), inline_out_bytes));
    std::copy(bytes.begin(), bytes.end(), s.out.begin());
    s.out_bytes = bytes.size();
    s.out_segment = s.out_handles = 0;
  }
  publish(s, step::error);
}

void task_server::put_out(slot& s, std::span<const std::byte> bytes, std::span<const file_descriptor> handles) {
  s.out_segment = 0;
  s.out_handles = 0;
  s.out_bytes = bytes.size();
  if (bytes.size() <= s.out.size()) {
    std::copy(bytes.begin(), bytes.end(), s.out.begin());
  } else {
    const auto is_there = [bytes](const segment& one) { return one && one.bytes().data() == bytes.data(); };
    segment* to = is_there(single_) ? &single_ : std::find_if(out_.begin(), out_.end(), is_there);
    if (to == out_.end()) to = &segment_for(bytes.size(), bytes);
    s.out_segment = hand_over(*to);
  }
  for (; !handles.empty(); handles = handles.subspan(std::min(handles.size(), worker::most_handles_at_once))) {
    std::vector<int> now;
    for (const file_descriptor& fd : handles.first(std::min(handles.size(), worker::most_handles_at_once))) {
      now.push_back(fd.get());
    }
    send({parcel_kind::handles, 0, ticket_, 0}, now);
    s.out_handles += static_cast<std::uint32_t>(now.size());
  }
}

// One that the program does not need any more, the smallest that is large enough; else a new one, which is kept if there is
// room for it. It begins with what `begins` says, which may lie in the one that is given up for it.
segment& task_server::segment_for(std::size_t bytes, std::span<const std::byte> begins) {
  segment* best = nullptr;
  segment* spare = nullptr;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < out_.size(); ++i) {
    kept += out_[i].size();
    if (region_.out_segment_used[i].load(std::memory_order_acquire) != 0) continue;
    if (out_[i].size() < bytes) {
      if (spare == nullptr || out_[i].size() < spare->size()) spare = &out_[i];
    } else if (best == nullptr || out_[i].size() < best->size()) {
      best = &out_[i];
    }
  }
  if (best != nullptr) {
    std::copy(begins.begin(), begins.end(), best->bytes().begin());
    return *best;
  }
  segment made(segment_bytes(bytes));
  std::copy(begins.begin(), begins.end(), made.bytes().begin());
  const bool keeps = spare != nullptr && kept - spare->size() + made.size() <= most_kept_bytes;
  return (keeps ? *spare : single_) = std::move(made);
}

std::span<std::byte> task_server::grow(std::size_t bytes, std::span<const std::byte> kept) {
  return segment_for(bytes, kept).bytes();
}

// Its number, from 1: the program has it now.
std::uint32_t task_server::hand_over(segment& s) {
  const bool keeps = &s != &single_;
  const std::uint32_t number = keeps ? static_cast<std::uint32_t>(&s - out_.data()) + 1 : ++single_segments_;
  if (s.descriptor() >= 0) {
    const int sent = s.descriptor();
    send({parcel_kind::segment, number, ticket_, s.size()}, std::span(&sent, 1));
    s.close_descriptor();
  }
  if (keeps) {
    region_.out_segment_used[number - 1].store(1, std::memory_order_release);
  } else {
    single_ = {};
  }
  return number;
}

void task_server::publish(slot& s, step how) noexcept {
  publish_cpu(region_.worker_cpu);
  sync::death_point("pool: result written");
  // Pairs with the program's load of the word, after which it reads the result. As it was claimed, as a rule: to look
  // first would be one more journey of a line that the program looks at all the time.
  std::uint32_t w = word_of(ticket_, step::claimed);
  while (!s.state.compare_exchange_weak(w, (w & ~step_bits) | static_cast<std::uint32_t>(how))) {
  }
  if ((w & waited_bit) != 0) os::futex_wake_all(s.state);
  if ((w & watched_bit) != 0) ring();
}

// What a worker process of a pool calls first.
void serve(reader& in, writer&) {
  file_descriptor file = detail::wire::detach(in);
  const file_descriptor socket = detail::wire::detach(in);
  const bool initialises = detail::read_value<bool>(in);
  void (*initializer)() = initialises ? detail::read_callable<void (*)()>(in) : nullptr;
  detail::finish(in);
  if (!os::sealed_at(file.get(), sizeof(region)))
    throw decode_error("tandem: what a pool's worker was given is no region");
  void* const memory = os::map(file.get(), 0, sizeof(region));
  if (memory == nullptr) os::throw_failed("mmap", errno);
  file = {};
  os::keep_from_copies(memory, sizeof(region));
  // SAFETY: of that size and sealed; the program made a region there.
  region& r = *static_cast<region*>(memory);
  if (initializer != nullptr) {
    r.reached.store(static_cast<std::uint32_t>(phase::initialising), std::memory_order_release);
    initializer();
    leave_if_copied(0);
  }
  worker::share_cpus(r.workers);
  relay().listen_at(r);
  task_server(r, socket.get()).run();
}

}  // namespace

detail::message make_worker_call(file_descriptor region, file_descriptor socket, const worker_shape& shape) {
  writer out;
  detail::write_code(out, reinterpret_cast<const void*>(&serve));
  detail::wire::attach(out, std::move(region));
  detail::wire::attach(out, std::move(socket));
  detail::write_value(out, shape.initializer != nullptr);
  if (shape.initializer != nullptr) detail::write_callable(out, shape.initializer);
  return detail::take_message(std::move(out));
}

}  // namespace tandem::pools
