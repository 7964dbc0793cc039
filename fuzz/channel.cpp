// Any bytes, said by a peer: as messages over packets or a stream, or as greetings to a listener. An error or a message,
// never a crash, never memory out of proportion, never a wait for what does not come.
// The first byte chooses the listener's or the messages' side; the rest is what the peer says. Over packets a byte before
// each says how long it is.
#include <fcntl.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <tandem/error.hpp>
#include <tandem/pipe.hpp>

#include "channel/handshake.hpp"
#include "channel/packets.hpp"
#include "channel/stream.hpp"

namespace {

using bytes = std::span<const std::byte>;
namespace channel = tandem::channel;
namespace os = tandem::os;

constexpr std::size_t most_bytes = std::size_t{1} << 20;

std::array<tandem::file_descriptor, 2> pair_of(bool stream) {
  std::array<tandem::file_descriptor, 2> ends;
  if ((stream ? os::stream_pair(ends) : os::socket_pair(ends)) != 0) std::abort();
  return ends;
}

void say_packets(int fd, bytes input) {
  while (!input.empty()) {
    const std::size_t size = std::min<std::size_t>(std::to_integer<std::size_t>(input[0]), input.size() - 1);
    // Some with descriptors: of a socket that is at its end.
    const int descriptors[] = {fd};
    const bool with = size % 3 == 0;
    if (os::send_now(fd, {input.subspan(1, size)}, std::span(descriptors).first(with ? 1 : 0)) != 0) return;
    input = input.subspan(1 + size);
  }
}

/// The same, each packet made large, with a length that fits unless the input says otherwise.
void say_large_packets(int fd, bytes input) {
  constexpr std::size_t large = 70'000;
  while (!input.empty()) {
    const std::size_t size = std::min<std::size_t>(std::to_integer<std::size_t>(input[0]), input.size() - 1);
    std::vector<std::byte> packet(input.begin() + 1, input.begin() + 1 + static_cast<std::ptrdiff_t>(size));
    if (size % 5 != 0) packet.resize(large);
    if (size % 7 != 0 && size >= sizeof(channel::frame)) {
      channel::frame head;
      std::memcpy(&head, packet.data(), sizeof head);
      head.bytes = packet.size() - sizeof head;
      std::memcpy(packet.data(), &head, sizeof head);
    }
    if (os::send_now(fd, {packet}) != 0) return;
    input = input.subspan(1 + size);
  }
}

template <class T>
void receive_all(tandem::detail::channel_core& core) {
  for (int i = 0; i < 64; ++i) {
    try {
      tandem::detail::value_sink<T> into;
      if (i % 2 == 0) core.ready();
      if (core.receive(into, tandem::clock::now()) != tandem::detail::arrival::message) return;
    } catch (const tandem::error&) {
    } catch (const std::bad_alloc&) {
    } catch (const std::length_error&) {
    }
  }
}

channel::packet_options options(bool awaited) {
  channel::packet_options o;
  o.most_bytes = most_bytes;
  o.first_answer = awaited ? channel::answer::awaited : channel::answer::welcome;
  return o;
}

void messages_in_packets(bytes input, bool awaited) {
  auto ends = pair_of(false);
  channel::packets core(std::move(ends[0]), options(awaited));
  say_packets(ends[1].get(), input);
  ends[1] = {};
  receive_all<std::vector<std::string>>(core);
}

void large_messages_in_packets(bytes input) {
  auto ends = pair_of(false);
  channel::packets core(std::move(ends[0]), options(false));
  say_large_packets(ends[1].get(), input);
  ends[1] = {};
  receive_all<std::vector<int>>(core);
}

void messages_in_a_stream(bytes input, bool awaited) {
  auto ends = pair_of(true);
  channel::stream core(std::make_unique<channel::plain_bytes>(std::move(ends[0])), options(awaited));
  static_cast<void>(os::send_bytes_now(ends[1].get(), {input}));
  ends[1] = {};
  receive_all<std::vector<int>>(core);
}

void greetings(bytes input, bool in_a_stream) {
  static const std::string key = "a key";
  auto ends = pair_of(in_a_stream);
  channel::line l = in_a_stream ? channel::line(std::make_unique<channel::plain_bytes>(std::move(ends[0])))
                                : channel::line(std::move(ends[0]));
  channel::reception host(std::move(l), nullptr, key, os::never);
  if (in_a_stream) {
    static_cast<void>(os::send_bytes_now(ends[1].get(), {input}));
  } else {
    say_packets(ends[1].get(), input);
  }
  os::shut_down(ends[1].get());
  try {
    for (int i = 0; i < 4; ++i) {
      if (host.step()) std::abort();  // nobody guesses a proof
    }
  } catch (const tandem::error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bytes input(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  switch (data[0] % 7) {
    case 0: messages_in_packets(input, false); break;
    case 1: messages_in_packets(input, true); break;
    case 2: messages_in_a_stream(input, false); break;
    case 3: messages_in_a_stream(input, true); break;
    case 4: greetings(input, false); break;
    case 5: greetings(input, true); break;
    default: large_messages_in_packets(input); break;
  }
  return 0;
}
