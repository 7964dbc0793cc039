#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include <tandem/transfer.hpp>

#include "os/kernel.hpp"

namespace tandem::detail {

namespace {

std::string at(std::size_t offset) { return " at byte " + std::to_string(offset); }

}  // namespace

void wire::append_block(writer& w, const void* from, std::size_t size) {
  if (w.store_ != nullptr && (!w.outside_.empty() || w.bytes_.size() + w.staged_ + size >= stored_from))
    return append_outside(w, from, size);
  const auto* bytes = static_cast<const std::byte*>(from);
  if (w.bytes_.capacity() < w.bytes_.size() + w.staged_ + size) {
    // At least twice as much, and one block of any size in one step.
    const std::size_t twice = 2 * w.bytes_.capacity();
    const std::size_t needed = w.bytes_.size() + w.staged_ + size;
    w.bytes_.reserve(needed > twice ? needed : twice);
    // What is not written yet costs nothing, and, in huge pages, little.
    will_fill(w.bytes_.data(), w.bytes_.capacity() >= huge_block ? w.bytes_.capacity() : needed);
  }
  w.bytes_.insert(w.bytes_.end(), w.stage_, w.stage_ + w.staged_);
  w.staged_ = 0;
  w.bytes_.insert(w.bytes_.end(), bytes, bytes + size);
}

void wire::append_outside(writer& w, const void* from, std::size_t size) {
  const bool is_first = w.outside_.empty();
  const std::span<const std::byte> kept =
      is_first ? std::span<const std::byte>(w.bytes_) : w.outside_.first(w.outside_size_);
  const std::size_t needed = kept.size() + w.staged_ + size;
  if (needed > w.outside_.size()) w.outside_ = w.store_->grow(std::max(needed, 2 * w.outside_.size()), kept);
  if (is_first) {
    w.outside_size_ = kept.size();
    w.bytes_ = {};
  }
  std::memcpy(w.outside_.data() + w.outside_size_, w.stage_, w.staged_);
  w.outside_size_ += std::exchange(w.staged_, 0U);
  if (size == 0) return;
  std::byte* const to = w.outside_.data() + w.outside_size_;
  if (from != nullptr) {
    std::memcpy(to, from, size);
  } else {
    std::memset(to, 0, size);
  }
  w.outside_size_ += size;
}

void wire::prepare_block(void* memory, std::size_t size) noexcept { os::prepare_to_fill(memory, size); }

std::size_t wire::padded_size(std::size_t charge, std::size_t size) noexcept {
  if (charge <= free_budget) return size;
  const std::size_t warranting = (charge - free_budget + budget_per_byte - 1) / budget_per_byte;
  return warranting > size ? warranting : size;
}

[[gnu::hot]] std::span<const std::byte> wire::finished(writer& w) {
  const std::size_t size = (w.outside_.empty() ? w.bytes_.size() : w.outside_size_) + w.staged_;
  const std::size_t padded = padded_size(w.charge_, size);
  if (!w.outside_.empty() || (w.store_ != nullptr && padded >= stored_from)) {
    append_outside(w, nullptr, padded - size);
    return w.outside_.first(w.outside_size_);
  }
  if (padded == size && w.bytes_.empty()) return {w.stage_, w.staged_};
  if (w.staged_ != 0) append_block(w, nullptr, 0);
  if (padded != size) w.bytes_.resize(padded);
  return w.bytes_;
}

[[gnu::hot]] std::vector<std::byte> wire::taken(writer&& w) {
  const std::span<const std::byte> all = finished(w);
  if (all.data() == w.bytes_.data()) return std::move(w.bytes_);
  return {all.begin(), all.end()};
}

[[gnu::hot]] void wire::attach(writer& w, file_descriptor handle) { w.handles_.push_back(std::move(handle)); }

file_descriptor wire::detach(reader& r) {
  if (r.handles_.empty()) fail(r, "a descriptor that did not come with the bytes");
  file_descriptor handle = std::move(r.handles_.front());
  r.handles_ = r.handles_.subspan(1);
  return handle;
}

[[gnu::hot]] void wire::check_end(reader& r) {
  const auto used = static_cast<std::size_t>(r.at_ - r.begin_);
  if (used + r.remaining() != padded_size(r.charge_, used)) {
    throw decode_error("tandem: " + std::to_string(r.remaining()) + " bytes too many" + at(used) +
                       ", after the end of the value");
  }
  for (; r.at_ != r.end_; ++r.at_) {
    if (*r.at_ != std::byte{0}) fail(r, "bytes after the end of the value");
  }
}

void wire::fail(const reader& r, const char* what) {
  throw decode_error(std::string("tandem: found ") + what + at(static_cast<std::size_t>(r.at_ - r.begin_)));
}

void wire::fail_truncated(const reader& r, std::size_t size) {
  throw decode_error("tandem: the bytes end too early: " + std::to_string(size) + " wanted and " +
                     std::to_string(r.remaining()) + " left" + at(static_cast<std::size_t>(r.at_ - r.begin_)));
}

void wire::fail_count(const reader& r, std::uint64_t count) {
  throw decode_error("tandem: a count of " + std::to_string(count) + " elements, which cannot be in the " +
                     std::to_string(r.remaining()) + " bytes left" + at(static_cast<std::size_t>(r.at_ - r.begin_)));
}

void wire::fail_budget(const reader& r) {
  throw decode_error("tandem: the value would need more memory than " + std::to_string(r.end_ - r.begin_) +
                     " bytes warrant (1 MiB, and 1024 for each)" + at(static_cast<std::size_t>(r.at_ - r.begin_)));
}

void wire::fail_depth(const reader& r) {
  throw decode_error("tandem: the value is nested more than 500 levels deep" +
                     at(static_cast<std::size_t>(r.at_ - r.begin_)));
}

void wire::fail_depth(const writer&) {
  throw std::length_error(
      "tandem: the value is nested more than 500 containers, pointers or hooks deep; keep a long chain in a vector");
}

void wire::fail_valueless() {
  throw std::invalid_argument("tandem: a std::variant that lost its value to an exception cannot be encoded");
}

}  // namespace tandem::detail
