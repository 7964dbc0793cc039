// Functions by name: the build-id of their module, the offset in it, and the module's path. The address itself means
// nothing in another image of the program, and may be shared by two functions (identical code folding): it names the
// code, not an identity.
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <tandem/detail/transfer_callable.hpp>
#include "os/modules.hpp"

namespace tandem::detail {

namespace {

constexpr std::size_t max_build_id = 64;

std::string hexadecimal(std::span<const std::byte> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

std::uintptr_t number_of(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

/// The module of an address that is not the program's. The last one of each thread is kept.
const os::loaded_module& library_of(const void* address) {
  struct last_library {
    os::loaded_module module;
    unsigned long long unloaded = 0;
  };
  thread_local last_library last;
  const unsigned long long unloaded = os::modules_unloaded();
  if (last.unloaded != unloaded || !last.module.holds_code(number_of(address))) {
    auto found = os::find_module(address);
    if (!found) {
      throw error(
          "tandem: the function to call lies in no loaded program or library, so that another process cannot find it; "
          "pass one that is compiled into the program");
    }
    last.module = std::move(*found);
    last.unloaded = unloaded;
  }
  return last.module;
}

[[noreturn]] void fail_no_build_id(const os::loaded_module& m) {
  throw error("tandem: " + (m.path.empty() ? std::string("this program") : m.path) +
              " has no build-id, by which another process would find its functions; link it with -Wl,--build-id");
}

void write_name(writer& w, const os::loaded_module& m, const void* address) {
  if (m.build_id.empty() || m.build_id.size() > max_build_id) fail_no_build_id(m);
  const std::byte size{static_cast<unsigned char>(m.build_id.size())};
  wire::append(w, &size, 1);
  wire::append(w, m.build_id.data(), m.build_id.size());
  wire::append_count(w, number_of(address) - m.base);
  write_value(w, m.path);
}

[[gnu::hot]] const void* address_in(const reader& r, const os::loaded_module& m, std::uint64_t offset) {
  const std::uintptr_t address = m.base + static_cast<std::uintptr_t>(offset);
  if (!m.holds_code(address)) wire::fail(r, "the name of a function that lies outside the code of its module");
  return reinterpret_cast<const void*>(address);
}

/// The module with that build-id. Of several, copies of one library, the one from that path: each has its own variables.
[[gnu::noinline]] os::loaded_module library_named(std::span<const std::byte> id, const std::string& path) {
  std::vector<os::loaded_module> loaded = os::find_modules_by_id(id);
  for (os::loaded_module& m : loaded) {
    if (m.path == path) return std::move(m);
  }
  std::string why_not;
  if (auto m = os::load_module(path, id, why_not)) return std::move(*m);
  if (!loaded.empty()) return std::move(loaded.front());  // elsewhere on this machine, or moved since
  throw error("tandem: the function to call is in " + (path.empty() ? std::string("a program") : path) +
              " with build-id " + hexadecimal(id) + ", which this process does not have (" + why_not +
              "); load a library before tandem::init(), and start all processes from the same build");
}

// Whether a pointer to member is virtual stands in bit 0: of the pointer, or where code may lie at odd addresses of the
// adjustment (which is then doubled). A virtual one's pointer is an offset in the virtual table.
#if defined(__arm__) || defined(__aarch64__)
constexpr bool in_adjustment = true;
#else
constexpr bool in_adjustment = false;
#endif

constexpr std::uint64_t max_virtual_table = 1 << 20;

}  // namespace

void write_code(writer& w, const void* address) {
  const os::loaded_module& program = os::program();
  write_name(w, program.holds_code(number_of(address)) ? program : library_of(address), address);
}

[[gnu::hot]] const void* read_code(reader& r) {
  const auto size = std::to_integer<std::size_t>(*wire::take(r, 1));
  if (size == 0 || size > max_build_id) wire::fail(r, "a build-id of an impossible length");
  const std::span<const std::byte> id(wire::take(r, size), size);
  const auto offset = wire::take_number<std::uint64_t>(r);
  const auto path = read_value<std::string>(r);
  const os::loaded_module& program = os::program();
  if (path.empty() && std::equal(id.begin(), id.end(), program.build_id.begin(), program.build_id.end())) {
    return address_in(r, program, offset);
  }
  return address_in(r, library_named(id, path), offset);
}

void write_member_function(writer& w, member_function_words words) {
  const bool is_virtual = in_adjustment ? (words.adjustment & 1) != 0 : (words.pointer & 1) != 0;
  write_value(w, is_virtual);
  write_value(w, words.adjustment);
  if (is_virtual) {
    wire::append_count(w, words.pointer);
  } else {
    write_code(w, reinterpret_cast<const void*>(words.pointer));
  }
}

member_function_words read_member_function(reader& r) {
  const bool is_virtual = read_value<bool>(r);
  member_function_words words;
  words.adjustment = read_value<std::ptrdiff_t>(r);
  if (in_adjustment && ((words.adjustment & 1) != 0) != is_virtual) wire::fail(r, "a pointer to member that is none");
  if (!is_virtual) {
    words.pointer = number_of(read_code(r));
    if (!in_adjustment && (words.pointer & 1) != 0) wire::fail(r, "a pointer to member that is none");
    return words;
  }
  const auto place = wire::take_number<std::uint64_t>(r);
  const std::uint64_t offset = in_adjustment ? place : place - 1;
  if (offset % sizeof(void*) != 0 || offset > max_virtual_table) wire::fail(r, "a pointer to member that is none");
  words.pointer = static_cast<std::uintptr_t>(place);
  return words;
}

void fail_null_callable() { throw std::invalid_argument("tandem: the function to call is a null pointer"); }

void fail_null_text() {
  throw std::invalid_argument("tandem: a null const char* was passed as an argument, where text is expected");
}

}  // namespace tandem::detail
