#include <algorithm>
#include <cstring>

#include <tandem/detail/pool_task.hpp>

#include "pool/process_pool_core.hpp"
#include "pool/region.hpp"
#include "pool/waiting.hpp"
#include "transfer/exception_codec.hpp"

namespace tandem::detail {

process_task::process_task(task_options asked, message sent) noexcept
    : call(std::move(sent)), request(std::move(asked)) {}

bool process_task::look() noexcept {
  const auto* word = place.load(std::memory_order_acquire);
  // Only a hint: under the lock it is looked at again. Relaxed would do for that; the result is read under the lock.
  if (word == nullptr || !pools::has_ended(word->load(std::memory_order_acquire))) return done();
  if (pool->of_this_process()) pool->collect(*this);
  return done();
}

bool process_task::look_a_while(clock::time_point deadline) {
  const auto* const worker_cpu = cpu.load(std::memory_order_acquire);
  if (worker_cpu == nullptr) return future_state::look_a_while(deadline);  // it waits for a place
  if (worker_cpu->load(std::memory_order_relaxed) == pools::own_cpu()) return ready();
  return pool->look_for([this] { return ready(); });
}

void process_task::require_own_pool() const {
  if (!pool->of_this_process()) throw tandem::error("tandem: this future belongs to the program that fork() copied");
}

void process_task::sleep(clock::time_point deadline) {
  require_own_pool();
  pool->sleep(*this, deadline);
}
void process_task::arrange_telling() {
  require_own_pool();
  pool->watch(*this);
}
bool process_task::stop(how h) { return pool->of_this_process() && pool->cancel(*this, h); }

void process_task::set_near(std::span<const std::byte> bytes) noexcept {
  size_ = std::min(bytes.size(), near_.size());
  std::copy_n(bytes.begin(), size_, near_.begin());
}

void process_task::drop_result() noexcept {
  far_ = {};
  handles_.clear();
  size_ = 0;
}

std::span<const std::byte> process_task::result() const noexcept {
  return far_ ? *far_ : std::span<const std::byte>(near_).first(size_);
}

lent_message process_task::lend_message(bool reads_once) {
  lent_message lent{result(), std::move(handles_)};
  if (far_ && reads_once) {
    lent.lender = std::move(far_);
  } else if (far_) {  // what is decoded, nobody else can change meanwhile
    lent.copy.reserve(lent.bytes.size());
    wire::will_fill(lent.copy.data(), lent.bytes.size());
    lent.copy.assign(lent.bytes.begin(), lent.bytes.end());
    lent.bytes = lent.copy;
  }
  drop_result();
  return lent;
}

void process_task::finish() noexcept {
  call = {};
  switch (ending) {
    case fate::value: end_with_value(); break;
    case fate::thrown: try { error = decode_exception(lend_message(false).bytes);
      } catch (...) {
        error = std::current_exception();
      }
      drop_result();
      end_with_error(std::move(error));
      break;
    case fate::cancelled: end_as(as_cancelled); break;
    case fate::late: end_as(as_late); break;
    default: end_with_error(std::move(error)); break;
  }
}

}  // namespace tandem::detail
