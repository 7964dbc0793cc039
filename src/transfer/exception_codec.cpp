// The bytes of an exception: the name of its type, its what(), where it comes from (unknown, registered, known), and
// what rebuilds it. Whatever goes wrong on either side, name and text remain, and make a remote_exception.
#include "transfer/exception_codec.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <typeinfo>

#include <tandem/detail/transfer_exception.hpp>
#include "transfer/known_exceptions.hpp"

namespace tandem::detail {

namespace {

enum class origin : std::uint8_t { unknown, registered, known };

// A list that only grows, so that it is read without a lock: also in a forked child, whatever other threads were doing.
constinit std::atomic<exception_entry*> first_entry = nullptr;

const exception_entry* entry_of_type(const std::type_info& type) noexcept {
  // acquire: pairs with the release in add_exception, which published the entry.
  for (const auto* e = first_entry.load(std::memory_order_acquire); e != nullptr; e = e->next) {
    if (*e->type == type) return e;
  }
  return nullptr;
}

/// Types without linkage may share a name; then nothing tells which is meant.
const exception_entry* entry_of_name(const std::string& name) noexcept {
  const exception_entry* found = nullptr;
  for (const auto* e = first_entry.load(std::memory_order_acquire); e != nullptr; e = e->next) {
    if (name != e->type->name()) continue;
    if (found != nullptr && *found->type != *e->type) return nullptr;
    found = e;
  }
  return found;
}

std::string readable_name(const std::type_info* type) {
  if (type == nullptr) return "(not a C++ exception)";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    &std::free);
  return status == 0 && name != nullptr ? name.get() : type->name();
}

void write_header(writer& w, const std::type_info* type, const char* text, origin from) {
  write_value(w, readable_name(type));
  write_value(w, std::string(text != nullptr ? text : ""));
  write_value(w, from);
}

std::vector<std::byte> encode_unknown(const std::type_info* type, const char* text) {
  writer w;
  write_header(w, type, text, origin::unknown);
  return take_bytes(std::move(w));
}

std::vector<std::byte> encode_rebuildable(const std::exception& e) {
  const std::type_info& type = typeid(e);
  writer w;
  if (const exception_entry* entry = entry_of_type(type)) {
    write_header(w, &type, e.what(), origin::registered);
    write_value(w, std::string(type.name()));
    entry->write(w, e);
  } else if (const auto index = known_exception_index(type)) {
    write_header(w, &type, e.what(), origin::known);
    write_value(w, *index);
    write_known_exception(w, *index, e);
  } else {
    write_header(w, &type, e.what(), origin::unknown);
  }
  return take_bytes(std::move(w));
}

std::vector<std::byte> encode_current(const std::exception_ptr& exception) {
  if (exception == nullptr) return encode_unknown(nullptr, "no exception");
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    try {
      return encode_rebuildable(e);
    } catch (...) {  // a hook that throws, a value too deep
      return encode_unknown(&typeid(e), e.what());
    }
  } catch (...) {
    return encode_unknown(abi::__cxa_current_exception_type(), "");
  }
}

std::exception_ptr make_remote(const std::string& type, const std::string& text) {
  return std::make_exception_ptr(
      remote_exception(type, text.empty() ? "an exception of type " + (type.empty() ? "unknown" : type) : text));
}

/// Null for an unknown type; throws if the bytes are not what they say.
std::exception_ptr rebuild(reader& r, const std::string& text) {
  switch (read_value<origin>(r)) {
    case origin::registered: {
      const exception_entry* entry = entry_of_name(read_value<std::string>(r));
      return entry != nullptr ? entry->read(r) : nullptr;
    }
    case origin::known: {
      const auto index = read_value<known_index>(r);
      return read_known_exception(r, index, text);
    }
    case origin::unknown: break;
  }
  return nullptr;
}

}  // namespace

void add_exception(exception_entry& entry) noexcept {
  if (entry.registered.exchange(true)) return;
  entry.next = first_entry.load(std::memory_order_relaxed);
  // release: whoever finds the entry finds its `next` too.
  while (!first_entry.compare_exchange_weak(entry.next, &entry, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

void encode_exception(std::vector<std::byte>& out, const std::exception_ptr& exception) noexcept {
  try {
    out = encode_current(exception);
  } catch (...) {
    out.clear();
  }
}

std::exception_ptr decode_exception(std::span<const std::byte> bytes) {
  std::string type;
  std::string text;
  reader r = make_reader(bytes);
  try {
    type = read_value<std::string>(r);
    text = read_value<std::string>(r);
  } catch (const decode_error&) {
    return make_remote("", bytes.empty() ? "an exception that could not be sent" : "an exception that cannot be read");
  }
  try {
    if (std::exception_ptr rebuilt = rebuild(r, text)) return rebuilt;
  } catch (...) {  // of whatever type: the hook that read it is the user's
  }
  return make_remote(type, text);
}

void write_failure(writer& w, const std::exception_ptr& failure) {
  std::vector<std::byte> bytes;
  encode_exception(bytes, failure);
  write_value(w, bytes);
}

std::exception_ptr read_failure(reader& r) { return decode_exception(read_value<std::vector<std::byte>>(r)); }

void rethrow_encoded(std::span<const std::byte> bytes) { std::rethrow_exception(decode_exception(bytes)); }

}  // namespace tandem::detail
