#include "pool/host_worker.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <tandem/error.hpp>

#include "os/kernel.hpp"
#include "pool/serve.hpp"
#include "pool/waiting.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/protocol.hpp"

namespace tandem::pools {

using worker::bytes_of;

region_map::region_map()
    : file_(static_cast<int>(os::check(os::anonymous_file("tandem pool", sizeof(region)), "memfd_create"))) {
  os::check(os::reserve(file_.get(), 0, sizeof(region)), "fallocate");
  void* const memory = os::map(file_.get(), 0, sizeof(region));
  if (memory == nullptr) os::throw_failed("mmap", errno);
  // SAFETY: of that size, sealed, and all zeros, which is a region whose slots are free.
  region_ = new (memory) region;
}

void region_map::renew() noexcept {
  region& r = *region_;
  for (word* w : {&r.bell, &r.quit, &r.ring_dry, &r.ring_each, &r.reached, &r.worker_cpu, &r.rung}) w->store(0);
  for (word& used : r.out_segment_used) used.store(0);
  r.first_ticket = next_ticket;
}

region_map::~region_map() { os::unmap(region_, sizeof(region)); }

namespace {

constexpr int most_parcels = 1024;  // at a time: more than the socket holds; a worker may send without end

detail::process_start start_of(const worker_shape& shape, const std::string& name) {
  detail::process_start options;
  options.name = name;
  options.fresh_image = shape.fresh_image;
  options.capture_stderr = true;
  options.stop_grace = shape.stop_grace;
  options.kill_grace = shape.kill_grace;
  options.unlisted = true;
  return options;
}

}  // namespace

host_worker::host_worker(const worker_shape& shape, const std::string& name, std::shared_ptr<region_map> map)
    : idle_since(clock::now()),
      map_(std::move(map)),
      since_(idle_since),
      head_(map_->next_ticket),
      tail_(map_->next_ticket) {
  std::array<file_descriptor, 2> ends;
  os::check(os::socket_pair(ends), "socketpair");
  region& r = **map_;
  r.spin_ns = shape.spin_ns;
  r.yields = shape.yields;
  r.workers = shape.workers;
  r.first_ticket = map_->next_ticket;
  r.most_tasks = shape.most_tasks;
  r.most_memory_bytes = shape.most_memory_bytes;
  socket_ = std::move(ends[0]);
  process_ = detail::process_handle(start_of(shape, name), make_worker_call(map_->file(), std::move(ends[1]), shape));
}

host_worker::~host_worker() {
  strike();
  shared().quit.store(1, std::memory_order_seq_cst);
  wake(**map_);
  map_->next_ticket = tail_;
}

// ---- tasks --------------------------------------------------------------------------------------------------------

void host_worker::wake(region& r) noexcept {
  if (r.bell.exchange(0, std::memory_order_seq_cst) == 1) os::futex_wake(r.bell, 1);
}

// The next task will be as large, as a rule. The worker had these lines last: they come while the caller prepares it.
void host_worker::want_to_fill(slot& s, std::size_t bytes) noexcept {
  constexpr std::size_t line = 64;
  os::want_to_write(&s.state);
  for (std::size_t at = 0; at < std::min(bytes, s.in.size()); at += line) os::want_to_write(&s.in[at]);
}

host_worker::placed host_worker::put(const task_pointer& task) {
  const auto index = static_cast<std::uint32_t>(tail_ % slot_count);
  if (occupied_[index]) return placed::no_room;
  slot& s = shared().slots[index];
  const std::span<const std::byte> bytes = task->call.bytes;
  std::uint32_t far = 0;
  if (bytes.size() > s.in.size()) {
    far = put_far(bytes);
    if (far == 0) return placed::refused;
  } else {
    std::memcpy(s.in.data(), bytes.data(), bytes.size());
  }
  if (!task->call.handles.empty() && !send_handles(*task, tail_)) {
    if (far != 0) in_[far].used = false;
    return placed::refused;
  }
  s.stop.store(0, std::memory_order_relaxed);
  s.attempt = task->attempt;
  s.handles = static_cast<std::uint32_t>(task->call.handles.size());
  s.handle_lot = handle_lots_;
  s.in_segment = segment_of_[index] = far;
  s.deadline_ns = task->request.deadline.count();
  s.started_ns.store(0, std::memory_order_relaxed);
  s.in_bytes = bytes.size();
  if (load_ == 0 || task->request.priority < lowest_priority) lowest_priority = task->request.priority;
  occupied_[index] = true;
  tickets_[index] = tail_;
  tasks_[index] = task;
  task->worker = this;
  task->index = index;
  ++load_;
  task->cpu.store(&shared().worker_cpu, std::memory_order_release);
  task->place.store(&s.state, std::memory_order_release);
  // Those who sleep at the task itself were there before it had a place.
  const bool watched = task->watched || task->has_sleepers() || !task->call.handles.empty();
  publish_cpu(shared().host_cpu);
  // Pairs with the worker's load: what was written above is there. Then the bell is looked at; the worker sets that, then
  // looks at the word.
  s.state.exchange(word_of(tail_, step::queued) | (watched ? watched_bit : 0U), std::memory_order_seq_cst);
  ++tail_;
  want_to_fill(shared().slots[tail_ % slot_count], bytes.size());
  return placed::yes;
}

// The number of the segment that has it; 0 if the worker cannot be told of a new one now.
std::uint32_t host_worker::put_far(std::span<const std::byte> bytes) {
  std::pair<const std::uint32_t, in_segment>* best = nullptr;
  std::size_t kept = 0;
  for (auto& entry : in_) {
    kept += entry.second.memory.size();
    if (entry.second.used || entry.second.memory.size() < bytes.size()) continue;
    if (best == nullptr || entry.second.memory.size() < best->second.memory.size()) best = &entry;
  }
  if (best == nullptr) {
    segment made(segment_bytes(bytes.size()));
    if (kept + made.size() > most_kept_bytes) forget_unused();
    const std::uint32_t number = ++next_in_;
    const parcel p{parcel_kind::segment, number, 0, made.size()};
    const int sent = made.descriptor();
    if (!send(p, std::span(&sent, 1))) return 0;
    made.close_descriptor();
    best = &*in_.emplace(number, in_segment{std::move(made), false}).first;
  }
  best->second.used = true;
  std::memcpy(best->second.memory.bytes().data(), bytes.data(), bytes.size());
  return best->first;
}

void host_worker::forget_unused() noexcept {
  for (auto entry = in_.begin(); entry != in_.end();) {
    const parcel p{parcel_kind::segment, entry->first};  // of no size
    const bool unused = !entry->second.used && send(p);
    entry = unused ? in_.erase(entry) : std::next(entry);
  }
}

bool host_worker::send(const parcel& p, std::span<const int> descriptors) noexcept {
  const int failed = os::send_now(socket_.get(), {bytes_of(p)}, descriptors);
  if (failed == 0) return true;
  send_error_ = -failed;
  is_unreachable = is_unreachable || failed == -EPIPE || failed == -ECONNRESET || failed == -ENOTCONN;
  return false;
}

bool host_worker::send_handles(const process_task& task, std::uint64_t ticket) {
  std::span<const file_descriptor> handles = task.call.handles;
  const parcel p{parcel_kind::handles, ++handle_lots_, ticket, 0};
  while (!handles.empty()) {
    std::vector<int> now;
    for (const file_descriptor& fd : handles.first(std::min(handles.size(), worker::most_handles_at_once))) {
      now.push_back(fd.get());
    }
    if (!send(p, now)) return false;
    handles = handles.subspan(now.size());
  }
  return true;
}

task_pointer host_worker::free_slot(std::uint32_t index) noexcept {
  task_pointer task = std::move(tasks_[index]);
  tasks_[index] = {};
  occupied_[index] = false;
  --load_;
  if (segment_of_[index] != 0) {
    const auto found = in_.find(segment_of_[index]);
    if (found != in_.end()) found->second.used = false;
    segment_of_[index] = 0;
  }
  if (task) task->leave_place();
  return task;
}

bool host_worker::take_back(std::uint32_t index) noexcept {
  word& state = shared().slots[index].state;
  std::uint32_t w = state.load(std::memory_order_seq_cst);
  do {
    if (step_of(w) != step::queued) return false;
  } while (!state.compare_exchange_weak(w, (w & ~step_bits) | static_cast<std::uint32_t>(step::removed)));
  if ((w & waited_bit) != 0) os::futex_wake_all(state);
  free_slot(index);
  return true;
}

task_pointer host_worker::leave(std::uint32_t index) noexcept {
  word& state = shared().slots[index].state;
  state.fetch_or(left_bit, std::memory_order_seq_cst);
  os::futex_wake_all(state);
  task_pointer task = std::move(tasks_[index]);
  tasks_[index] = {};
  if (task) task->leave_place();
  return task;
}

task_pointer host_worker::collect(std::uint32_t index) {
  const slot& s = shared().slots[index];
  if (tasks_[index]) {
    try {
      fill_outcome(*tasks_[index], s);
    } catch (...) {
      tasks_[index]->drop_result();
      tasks_[index]->error = std::current_exception();
      tasks_[index]->ending = process_task::fate::error;
    }
  } else if (has_ended(word_at(index))) {
    forget_outcome(index);
  }
  ++finished;
  return free_slot(index);
}

// Of a task that nobody waits for: what it gave is dropped, and the worker may use its memory again.
void host_worker::forget_outcome(std::uint32_t index) noexcept {
  const slot& s = shared().slots[index];
  try {
    if (const std::uint32_t number = read_once(s.out_segment)) lend(number, 0);
    if (const std::uint32_t count = read_once(s.out_handles)) handles_of(tickets_[index], count);
  } catch (...) {  // it has sent none, or they cannot be received
  }
}

// Everything that the worker wrote is read once, and checked.
void host_worker::fill_outcome(process_task& task, const slot& s) {
  const std::uint32_t w = s.state.load(std::memory_order_acquire);
  const auto bytes = static_cast<std::size_t>(read_once(s.out_bytes));
  const std::uint32_t number = read_once(s.out_segment);
  const std::uint32_t handle_count = read_once(s.out_handles);
  if (number != 0) {
    task.set_far(lend(number, bytes));
  } else if (bytes > s.out.size()) {
    throw decode_error("tandem: " + name() + " says that its result is larger than its place");
  } else {
    task.set_near(std::span(s.out).first(bytes));
  }
  if (handle_count != 0) task.set_handles(handles_of(tickets_[task.index], handle_count));
  task.ending = step_of(w) == step::error ? process_task::fate::thrown : process_task::fate::value;
}

detail::lent_bytes host_worker::lend(std::uint32_t number, std::size_t bytes) {
  for (int read = 0; out_.count(number) == 0; ++read) {
    if (read != most_parcels && read_parcel()) continue;
    if (receive_error_ != 0) os::throw_failed("recvmsg", receive_error_, "the memory with the result of a task");
    throw decode_error("tandem: " + name() + " has not sent the memory with its result");
  }
  struct loan {
    std::shared_ptr<segment> memory;
    std::shared_ptr<region_map> map;
    std::uint32_t number;
    std::span<const std::byte> bytes;
    ~loan() {
      if (number <= most_out_segments) (*map)->out_segment_used[number - 1].store(0, std::memory_order_release);
    }
  };
  const std::shared_ptr<segment> memory = out_.at(number);
  if (bytes > memory->size()) {
    throw decode_error("tandem: " + name() + " says that its result is larger than its memory");
  }
  auto lent = std::shared_ptr<loan>(new loan{memory, map_, number, memory->bytes().first(bytes)});
  if (number > most_out_segments) out_.erase(number);
  return detail::lent_bytes(lent, &lent->bytes);
}

std::vector<file_descriptor> host_worker::handles_of(std::uint64_t ticket, std::uint32_t count) {
  for (int read = 0;; ++read) {
    const auto found =
        std::find_if(received_.begin(), received_.end(), [&](const received_handles& r) { return r.ticket == ticket; });
    if (found != received_.end() && found->handles.size() == count) {
      std::vector<file_descriptor> handles = std::move(found->handles);
      received_.erase(received_.begin(), std::next(found));  // older ones are of tasks that nobody waits for
      return handles;
    }
    if (read == most_parcels || !read_parcel()) {
      os::throw_failed("recvmsg", receive_error_ != 0 ? receive_error_ : EMFILE,
                       "a handle in the result of a task could not be received");
    }
  }
}

// ---- what it sends ------------------------------------------------------------------------------------------------

// False if there is none, or none that can be had.
bool host_worker::read_parcel() {
  if (deaf) return false;
  parcel p;
  std::array<std::byte, sizeof p> bytes;
  os::message got = os::receive_now(socket_.get(), bytes);
  receive_error_ = got.size < 0 && got.size != -EAGAIN ? static_cast<int>(-got.size) : 0;
  if (got.size <= 0) {
    deaf = deaf || (got.size != -EAGAIN && got.size != -ENOMEM && got.size != -ENOBUFS);
    return false;
  }
  if (!worker::read_message(p, std::span<const std::byte>(bytes).first(static_cast<std::size_t>(got.size))))
    return true;
  if (p.kind == parcel_kind::segment) {
    const bool was_lost = std::exchange(is_lost, true);
    if (got.descriptors.empty()) return true;
    out_.insert_or_assign(
        p.number, std::make_shared<segment>(std::move(got.descriptors.front()), static_cast<std::size_t>(p.bytes)));
    out_.at(p.number)->close_descriptor();
    is_lost = was_lost;
  } else if (p.kind == parcel_kind::handles && !got.descriptors.empty()) {
    if (received_.empty() || received_.back().ticket != p.ticket) received_.push_back({p.ticket, {}});
    std::move(got.descriptors.begin(), got.descriptors.end(), std::back_inserter(received_.back().handles));
  }
  return true;
}

bool host_worker::drain() noexcept {
  for (int read = 0; read < most_parcels; ++read) {
    try {
      if (!read_parcel()) return !deaf;
    } catch (...) {  // what it sent is no good, or cannot be mapped: the task that needs it says so
    }
  }
  return !deaf;
}

// ---- what the pool asks -------------------------------------------------------------------------------------------

std::uint32_t host_worker::claimed_index() const noexcept {
  for (std::uint64_t ticket = first_ticket(); ticket < tail_; ++ticket) {
    const auto index = static_cast<std::uint32_t>(ticket % slot_count);
    if (occupied_[index] && tickets_[index] == ticket && step_of(word_at(index)) == step::claimed) return index;
  }
  return slot_count;
}

std::size_t host_worker::unclaimed() const noexcept {
  std::size_t count = 0;
  for (std::uint32_t index = 0; index < slot_count; ++index) {
    if (occupied_[index] && step_of(word_at(index)) == step::queued) ++count;
  }
  return count;
}

void host_worker::request_stop(std::uint32_t index) noexcept {
  shared().slots[index].stop.store(1, std::memory_order_release);
  shared().stop_bell.fetch_add(1, std::memory_order_seq_cst);
  os::futex_wake_all(shared().stop_bell);
}

bool host_worker::active() const noexcept {
  try {
    return process_.running();
  } catch (...) {
    return true;
  }
}

}  // namespace tandem::pools
