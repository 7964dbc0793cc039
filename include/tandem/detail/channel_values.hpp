#pragma once
// Values through the end of a channel: encoded on their way in, decoded where they arrive. A large vector or string of
// flat values is sent from where it is, and arrives in its place: it is never copied here.
#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

#include <tandem/detail/channel_end.hpp>
#include <tandem/transfer.hpp>

namespace tandem::detail {

inline constexpr std::size_t growth_bytes = std::size_t{256} << 10;

/// Memory for the bytes after the first `filled` of `total`. Address space is taken for all of them; pages are touched
/// as the bytes come, so that one who only announces a large message costs no memory.
template <class Container>
std::span<std::byte> grow(Container& c, std::size_t total, std::size_t filled) {
  using value = typename Container::value_type;
  if (filled == 0) {
    c.clear();
    c.reserve(total / sizeof(value));
  }
  if (c.size() * sizeof(value) == filled) {
    const std::size_t more = std::max<std::size_t>(growth_bytes / sizeof(value), 1);
    c.resize(std::min(total / sizeof(value), c.size() + more));
  }
  return std::as_writable_bytes(std::span(c.data(), c.size())).subspan(filled);
}

template <class T>
class value_sink : public sink {
 public:
  void whole(std::span<const std::byte> bytes) override {
    reader in = make_reader(bytes, handles);
    value_.emplace(read_value<T>(in));
    finish(in);
  }
  bool takes_handles() const noexcept override { return carries_handles<T>; }
  std::span<std::byte> room(std::size_t total, std::size_t filled) override { return grow(bytes_, total, filled); }
  void filled() override {
    const std::vector<std::byte> bytes = std::move(bytes_);
    whole(bytes);
  }
  T take() { return std::move(*value_); }

 private:
  std::vector<std::byte> bytes_;
  std::optional<T> value_;
};

/// A vector or string whose elements are their bytes: a count, then these.
template <class T>
consteval bool is_block() {
  if constexpr (kind_of<T> == kind::vector || kind_of<T> == kind::text) {
    using value = typename T::value_type;
    return is_flat<value> && std::is_default_constructible_v<T> && std::is_default_constructible_v<value>;
  } else {
    return false;
  }
}

template <class T>
requires(is_block<T>()) class value_sink<T> : public sink {
  using value = typename T::value_type;

 public:
  void whole(std::span<const std::byte> bytes) override {
    reader in = make_reader(bytes);
    value_ = read_value<T>(in);
    finish(in);
  }
  std::span<std::byte> room(std::size_t total, std::size_t filled) override {
    if (filled < sizeof count_) {
      return std::as_writable_bytes(std::span(&count_, 1)).first(std::min(sizeof count_, total)).subspan(filled);
    }
    const std::size_t rest = total - sizeof count_;
    if (rest % sizeof(value) == 0 && rest / sizeof(value) == count_) return grow(value_, rest, filled - sizeof count_);
    wrong_.resize(growth_bytes);  // no such value: its bytes go nowhere
    return wrong_;
  }
  bool has_place() const noexcept override { return true; }
  std::span<std::byte> place(std::size_t total, std::span<const std::byte, lead_bytes> lead) override {
    std::memcpy(&count_, lead.data(), sizeof count_);
    const std::size_t rest = total - sizeof count_;
    if (rest % sizeof(value) != 0 || rest / sizeof(value) != count_) return {};
    value_.resize(count_);
    return std::as_writable_bytes(std::span(value_.data(), value_.size()));
  }
  void filled() override {
    if (wrong_.empty()) return;
    throw decode_error("tandem: a count of " + std::to_string(count_) +
                       " elements, and a message that does not hold so many");
  }
  T take() { return std::move(value_); }

 private:
  std::uint64_t count_ = 0;
  T value_;
  std::vector<std::byte> wrong_;
};

class bytes_sink final : public sink {
 public:
  void whole(std::span<const std::byte> bytes) override { bytes_.assign(bytes.begin(), bytes.end()); }
  void owned(std::vector<std::byte>&& bytes) override { bytes_ = std::move(bytes); }
  std::span<std::byte> room(std::size_t total, std::size_t filled) override { return grow(bytes_, total, filled); }
  bool has_place() const noexcept override { return true; }
  std::span<std::byte> place(std::size_t total, std::span<const std::byte, lead_bytes> lead) override {
    bytes_.resize(total);
    std::copy(lead.begin(), lead.end(), bytes_.begin());
    return std::span(bytes_).subspan(lead_bytes);
  }
  void filled() override {}
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class span_sink final : public sink {
 public:
  explicit span_sink(std::span<std::byte> into) : into_(into) {}
  void whole(std::span<const std::byte> bytes) override {
    size_ = bytes.size();
    if (!bytes.empty() && bytes.data() != into_.data()) std::memcpy(into_.data(), bytes.data(), bytes.size());
  }
  std::span<std::byte> room(std::size_t total, std::size_t filled) override {
    size_ = total;
    return into_.first(total).subspan(filled);
  }
  void filled() override {}
  std::span<std::byte> direct() noexcept override { return into_; }
  std::size_t limit() const noexcept override { return into_.size(); }
  std::size_t size() const noexcept { return size_; }

 private:
  std::span<std::byte> into_;
  std::size_t size_ = 0;
};

template <class T>
bool send_value(const channel_end& end, const T& value, clock::time_point deadline) {
  if constexpr (is_block<T>()) {
    const std::uint64_t count = value.size();
    return end.send({std::as_bytes(std::span(&count, 1)), std::as_bytes(std::span(value.data(), value.size())), {}},
                    deadline);
  } else {
    writer out;
    out(value);
    const std::span<const std::byte> bytes = finished_bytes(out);
    const std::vector<file_descriptor> handles = wire::taken_handles(std::move(out));  // leaves the bytes
    return end.send({bytes, {}, handles}, deadline);
  }
}

template <class T>
std::optional<T> receive_value(const channel_end& end, clock::time_point deadline) {
  value_sink<T> into;
  const arrival came = end.receive(into, deadline);
  if (came == arrival::closed && deadline != no_deadline) throw_all_closed();
  return came == arrival::message ? std::optional<T>(into.take()) : std::nullopt;
}

inline std::optional<std::vector<std::byte>> receive_bytes(const channel_end& end) {
  bytes_sink into;
  if (end.receive(into, no_deadline) != arrival::message) return std::nullopt;
  return into.take();
}

inline std::optional<std::size_t> receive_bytes_into(const channel_end& end, std::span<std::byte> bytes) {
  span_sink into(bytes);
  if (end.receive(into, no_deadline) != arrival::message) return std::nullopt;
  return into.size();
}

}  // namespace tandem::detail
