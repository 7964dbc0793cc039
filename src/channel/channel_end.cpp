#include <tandem/detail/channel_end.hpp>

#include <algorithm>

#include <tandem/error.hpp>
#include <tandem/transfer.hpp>

#include "channel/core.hpp"
#include "channel/packets.hpp"
#include "channel/staging.hpp"
#include "channel/stream.hpp"
#include "channel/waiting.hpp"

namespace tandem::channel {
thread_local std::unique_ptr<std::byte[]> staging::spare;
}

namespace tandem::detail {

channel_end::channel_end(std::shared_ptr<channel_core> core) noexcept : core_(std::move(core)) {}
channel_end::channel_end(const channel_end&) noexcept = default;
channel_end::channel_end(channel_end&&) noexcept = default;
channel_end& channel_end::operator=(const channel_end&) noexcept = default;
channel_end& channel_end::operator=(channel_end&&) noexcept = default;
channel_end::~channel_end() = default;

channel_core& channel_end::core() const {
  if (!core_) throw closed("tandem: this end was closed, or given away by a move");
  return *core_;
}

bool channel_end::send(const outgoing& message, clock::time_point deadline) const {
  return core().send(message, deadline);
}

arrival channel_end::receive(sink& into, clock::time_point deadline) const { return core().receive(into, deadline); }

bool channel_end::poll(clock::time_point deadline) const {
  channel_core& c = core();
  for (;;) {
    if (c.ready()) return true;
    const wait_state s = c.look();
    if (!channel::wait_until_readable(s.descriptor, std::min(deadline, s.due)) && deadline <= s.due) return false;
  }
}

void channel_end::close() noexcept { core_.reset(); }

int channel_end::native_handle() const noexcept { return core_ ? core_->native_handle() : -1; }

bool channel_end::ready() const { return !core_ || core_->ready(); }

wait_state channel_end::look() const { return core_ ? core_->look() : wait_state{-1, true}; }

namespace {
enum class carrier : std::uint8_t { none, packets, stream };
}

void channel_end::write(writer& w) const {
  w(static_cast<std::uint8_t>(!core_ ? carrier::none : core_->is_stream() ? carrier::stream : carrier::packets));
  if (core_) core_->write(w);
}

channel_end channel_end::read(reader& r) {
  std::uint8_t kind = 0;
  r(kind);
  if (kind == static_cast<std::uint8_t>(carrier::none)) return channel_end();
  std::uint64_t most_bytes = 0;
  r(most_bytes);
  channel::packet_options options;
  options.most_bytes = most_bytes;
  file_descriptor socket = wire::detach(r);
  if (kind == static_cast<std::uint8_t>(carrier::packets))
    return channel_end(std::make_shared<channel::packets>(std::move(socket), options));
  if (kind == static_cast<std::uint8_t>(carrier::stream)) {
    auto bytes = std::make_unique<channel::plain_bytes>(std::move(socket));
    return channel_end(std::make_shared<channel::stream>(std::move(bytes), options));
  }
  throw decode_error("tandem: found an end of a channel of a kind that there is not");
}

end_pair make_ends() {
  std::array<file_descriptor, 2> ends;
  os::check(os::socket_pair(ends), "socketpair");
  return {channel_end(std::make_shared<channel::packets>(std::move(ends[0]))),
          channel_end(std::make_shared<channel::packets>(std::move(ends[1])))};
}

void throw_all_closed() {
  throw closed("tandem: every copy of the other end is closed, and all that was sent was read");
}

}  // namespace tandem::detail
