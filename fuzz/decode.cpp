// Any bytes, decoded as any type: a value or an error, never a crash, never memory out of proportion.
// The first byte chooses the type; the rest is the message.
#include <cstdint>
#include <cstdlib>

#include <tandem/detail/transfer_callable.hpp>
#include "../tests/transfer/samples.hpp"
#include "transfer/exception_codec.hpp"

namespace {

using namespace samples;
using bytes = std::span<const std::byte>;

/// What decodes must encode, and decode again.
template <class T>
void decode_as(bytes input) {
  try {
    const T value = tandem::decode<T>(input);
    const auto again = tandem::encode(value);
    static_cast<void>(tandem::decode<T>(again));
    if (again.size() > input.size()) std::abort();  // the padding is exact, so that nothing can grow
  } catch (const tandem::decode_error&) {
  }
}

template <class F>
void find(bytes input) {
  auto r = tandem::detail::make_reader(input);
  try {
    static_cast<void>(tandem::detail::read_callable<F>(r));
  } catch (const tandem::error&) {
  }
}

void decode_exception(bytes input) {
  try {
    tandem::detail::rethrow_encoded(input);
  } catch (...) {
    return;
  }
}

struct object {
  virtual ~object() = default;
  virtual int call() { return 1; }
  int number = 0;
};

using decoder = void (*)(bytes);
// New ones go to the end: the corpus names them by position.
constexpr decoder decoders[] = {
    &decode_exception,
    &find<int (*)(int)>,
    &find<int (object::*)()>,
    &find<int object::*>,
    &decode_as<bool>,
    &decode_as<long double>,
    &decode_as<std::string>,
    &decode_as<std::u16string>,
    &decode_as<std::vector<point>>,
    &decode_as<std::vector<bool>>,
    &decode_as<std::vector<std::string>>,
    &decode_as<std::deque<std::string>>,
    &decode_as<std::list<nothing>>,
    &decode_as<std::vector<nothing>>,
    &decode_as<std::forward_list<padded>>,
    &decode_as<std::set<std::string>>,
    &decode_as<std::unordered_multiset<int>>,
    &decode_as<std::map<std::string, std::vector<int>>>,
    &decode_as<std::unordered_map<int, std::optional<std::string>>>,
    &decode_as<std::variant<int, std::string, std::vector<point>>>,
    &decode_as<std::tuple<int, bool, std::bitset<13>, std::chrono::nanoseconds>>,
    &decode_as<std::filesystem::path>,
    &decode_as<tree>,
    &decode_as<chain>,
    &decode_as<either>,
    &decode_as<deep>,
    &decode_as<holder>,
    &decode_as<std::vector<std::optional<std::array<char, 4096>>>>,
    &decode_as<std::vector<big>>,
    &decode_as<box<std::vector<hooked>>>,
    &decode_as<tandem::crash_report>,
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  decoders[data[0] % std::size(decoders)]({reinterpret_cast<const std::byte*>(data) + 1, size - 1});
  return 0;
}
