#include <tandem/detail/channel_queue.hpp>

#include <stdexcept>

#include <tandem/transfer.hpp>

#include "channel/queue_core.hpp"

namespace tandem::detail {

queue_end::queue_end(const queue_form& form) : core_(std::make_shared<queue_core>(form)) {}

queue_core& queue_end::core() const {
  if (!core_) throw std::logic_error("tandem: this handle of a queue was moved from");
  return *core_;
}

bool queue_end::push(const outgoing& m, clock::time_point deadline, const std::stop_token* token) const {
  return core().push(m, deadline, token);
}
arrival queue_end::pop(sink& into, clock::time_point deadline, const std::stop_token* token) const {
  return core().pop(into, deadline, token);
}
arrival queue_end::pop_flat(void* into, clock::time_point deadline, const std::stop_token* token) const {
  return core().pop_flat(into, deadline, token);
}

queue_place queue_end::begin_push(clock::time_point deadline) const { return core().begin_push(deadline); }
void queue_end::finish_push(const queue_place& place) const { core().finish_push(place.position); }
void queue_end::abandon_push(const queue_place& place) const noexcept { core_->abandon_push(place.position); }
queue_place queue_end::begin_pop(arrival& came, clock::time_point deadline) const {
  return core().begin_pop(came, deadline);
}
void queue_end::finish_pop(const queue_place& place) const noexcept { core_->finish_pop(place.position); }

void queue_end::close() const { core().close(); }
bool queue_end::is_closed() const noexcept { return !core_ || core_->is_closed(); }
std::size_t queue_end::size() const noexcept { return core_ ? core_->size() : 0; }
std::size_t queue_end::capacity() const noexcept { return core_ ? core_->form().capacity : 0; }
queue_stats queue_end::stats() const { return core().stats(); }
void queue_end::task_done() const { core().task_done(); }
void queue_end::join() const { core().join(); }

bool queue_end::ready() const { return !core_ || core_->ready(); }
void queue_end::watch(int event) const { core().watch(event); }
void queue_end::unwatch(int event) const noexcept { core_->unwatch(event); }

// A handle that was moved from arrives as such.
void queue_end::write(writer& w) const {
  w(core_ != nullptr);
  if (!core_) return;
  w(core_->form().capacity);
  w(core_->form().bytes);
  segment_parcel parcel = core_->parcel();
  w(parcel.count);
  wire::attach(w, std::move(parcel.descriptor));
}

queue_end queue_end::read(reader& r, const queue_form& expected) {
  if (!read_value<bool>(r)) return queue_end();
  queue_form form = expected;
  form.capacity = read_value<std::uint64_t>(r);
  form.bytes = read_value<std::uint64_t>(r);
  segment_parcel parcel;
  parcel.count = read_value<std::uint64_t>(r);
  parcel.descriptor = wire::detach(r);
  if (form.capacity == 0 || channel::layout_of(form).total != parcel.count)
    throw decode_error("tandem: a queue came that is of another size or type than its message says");
  return queue_end(std::make_shared<queue_core>(form, std::move(parcel)));
}

void throw_no_place() { throw std::logic_error("tandem: this loan was pushed already, or moved from"); }

void throw_drained() { throw closed("tandem: the queue is closed, and all messages were popped"); }

}  // namespace tandem::detail
