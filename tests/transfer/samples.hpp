#pragma once
// Types of every kind that may cross, with values, and the comparison that their round trip is checked with.
#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include <tandem/transfer.hpp>

namespace samples {

enum class colour : std::uint8_t { red, green = 200 };
enum plain_enum : int { first, second = 7 };
enum class truth : bool { no, yes };

struct nothing {
  bool operator==(const nothing&) const = default;
};
struct point {
  int x = 0;
  int y = 0;
  bool operator==(const point&) const = default;
};
struct padded {
  char c = 0;
  double d = 0;
  bool operator==(const padded&) const = default;
};
struct flags {
  bool a = false;
  bool b = false;
  bool operator==(const flags&) const = default;
};
struct tree {
  int value = 0;
  std::vector<tree> kids = {};
  bool operator==(const tree&) const = default;
};
struct chain {
  int value = 0;
  std::unique_ptr<chain> next = {};
};
inline bool operator==(const chain& a, const chain& b) {
  return a.value == b.value && (a.next == nullptr) == (b.next == nullptr) && (a.next == nullptr || *a.next == *b.next);
}
struct either {
  std::variant<int, std::vector<either>, std::map<std::string, either>> v = 0;
  bool operator==(const either&) const = default;
};
struct with_const {
  const int number;
  const std::string text;
  bool operator==(const with_const&) const = default;
};
struct deep {
  point p = {};
  std::vector<std::map<std::string, std::optional<std::pair<int, padded>>>> maps = {};
  std::array<std::string, 2> strings = {};
  bool operator==(const deep&) const = default;
};
struct big {
  std::array<std::uint64_t, 512> words = {};
  std::string tail = {};
  bool operator==(const big&) const = default;
};

/// Has no default constructor, and members of its own.
class account {
 public:
  account(std::string owner, long balance) : owner_(std::move(owner)), balance_(balance) {}
  const std::string& owner() const { return owner_; }
  long balance() const { return balance_; }
  bool operator==(const account&) const = default;

 private:
  std::string owner_;
  long balance_;
};
struct holder {
  account a;
  std::vector<account> more = {};
  std::map<int, account> table = {};
  std::optional<account> maybe = {};
  std::variant<account, int> one = 0;
  std::array<account, 2> two;
  std::pair<account, account> both;
  bool operator==(const holder&) const = default;
};

/// An aggregate that would cross by itself, but is sent otherwise: as text.
struct hooked {
  int number = 0;
  bool operator==(const hooked&) const = default;
};

template <class T>
struct box {
  explicit box(T v) : value(std::move(v)) {}
  T value;
  bool operator==(const box&) const = default;
};

}  // namespace samples

template <>
struct tandem::transfer<samples::account> {
  static void write(writer& w, const samples::account& a) {
    w(a.owner());
    w(a.balance());
  }
  static samples::account read(reader& r) {
    std::string owner;
    long balance = 0;
    r(owner);
    r(balance);
    return samples::account(std::move(owner), balance);
  }
};

template <>
struct tandem::transfer<samples::hooked> {
  static void write(writer& w, const samples::hooked& h) { w(std::to_string(h.number)); }
  static samples::hooked read(reader& r) {
    std::string text;
    r(text);
    try {
      return {std::stoi(text)};
    } catch (const std::logic_error&) {
      throw decode_error("no number");
    }
  }
};

template <class T>
struct tandem::transfer<samples::box<T>> {
  static void write(writer& w, const samples::box<T>& b) { w(b.value); }
  static samples::box<T> read(reader& r) {
    T value{};
    r(value);
    return samples::box<T>(std::move(value));
  }
};

namespace samples {

template <class T, class... V>
std::vector<T> make_vector(V... v) {
  std::vector<T> values;
  (values.push_back(std::move(v)), ...);
  return values;
}

inline std::unique_ptr<chain> make_chain(int length) {
  std::unique_ptr<chain> first;
  for (int i = 0; i < length; ++i) first = std::make_unique<chain>(chain{i, std::move(first)});
  return first;
}

inline holder make_holder() {
  const account a("ada", 7);
  const account b(std::string(40, 'b'), -1);
  return {a, {a, b}, {{1, a}, {2, b}}, b, b, {{a, b}}, {b, a}};
}

inline either make_either() {
  either leaf{5};
  either list{std::vector<either>{leaf, leaf}};
  return {std::map<std::string, either>{{"a", leaf}, {"b", list}}};
}

/// Calls `f` with numbers, enums and text.
template <class F>
void for_each_of_plain_values(F f) {
  using namespace std::chrono_literals;
  using std::string;
  f(0);
  f(-1);
  f(std::numeric_limits<std::uint64_t>::max());
  f('x');
  f(U'\U0001F600');
  f(2.5);
  f(std::numeric_limits<double>::infinity());
  f(1.0L / 3);
  f(true);
  f(false);
  f(colour::green);
  f(second);
  f(truth::yes);
  f(std::byte{0xff});
  f(string());
  f(string("with a \0 inside", 15));
  f(string(1000, 'y'));
  f(std::u16string(u"sixteen"));
  f(std::wstring(L"wide"));
}

/// Calls `f` with containers.
template <class F>
void for_each_of_containers(F f) {
  using namespace std::chrono_literals;
  using std::string;
  f(std::vector<int>());
  f(std::vector<int>{1, 2, 3});
  f(std::vector<bool>());
  f(std::vector<bool>{true, false, true, true, false, false, true, false, true});
  f(std::vector<bool>(64, true));
  f(std::vector<string>{"a", "", string(100, 'z')});
  f(std::vector<std::vector<std::vector<int>>>{{}, {{1}, {}}, {{2, 3}}});
  f(std::deque<string>{"x", "y"});
  f(std::deque<int>(2000, 3));
  f(std::list<int>{1, 2, 3});
  f(std::forward_list<string>{"p", "q", "r"});
  f(std::set<string>{"b", "a"});
  f(std::multiset<int>{1, 1, 2});
  f(std::unordered_set<string>{"b", "a"});
  f(std::unordered_multiset<int>{1, 1, 2});
  f(std::map<int, string>{{1, "one"}, {-1, "minus one"}});
  f(std::multimap<string, int>{{"k", 1}, {"k", 2}, {"j", 3}});
  f(std::unordered_map<string, point>{{"o", {0, 0}}, {"p", {1, 2}}});
  f(std::unordered_multimap<int, int>{{1, 1}, {1, 2}});
  f(std::map<string, string, std::greater<>>{{"a", "b"}});
}

/// Calls `f` with fixed shapes and wrappers.
template <class F>
void for_each_of_wrappers(F f) {
  using namespace std::chrono_literals;
  using std::string;
  f(std::array<int, 3>{1, 2, 3});
  f(std::array<string, 2>{"u", "v"});
  f(std::array<bool, 40>{true});
  f(std::array<int, 0>{});
  f(std::bitset<13>(0x1abc));
  f(std::bitset<64>(~0ULL));
  f(std::bitset<0>());
  f(std::complex<float>(1, -2));
  f(std::complex<long double>(1, -2));
  f(std::pair<int, string>(1, "p"));
  f(std::tuple<int, bool, string>(1, true, "t"));
  f(std::tuple<>());
  f(std::tuple<std::tuple<int>>(std::tuple<int>(3)));
  f(std::optional<int>());
  f(std::optional<string>("there"));
  f(std::optional<std::optional<bool>>(std::optional<bool>()));
  f(std::variant<int, string, point>("text"));
  f(std::variant<std::monostate, int>());
  f(std::monostate());
  f(-5ns);
  f(std::chrono::duration<double>(0.5));
  f(std::chrono::system_clock::time_point(123456789s));
  f(std::chrono::year_month_day(std::chrono::year(2024), std::chrono::month(2), std::chrono::day(29)));
  f(std::chrono::year(2024) / 2);
  f(std::chrono::year(2024) / 2 / std::chrono::last);
  f(std::chrono::year(2024) / 2 / std::chrono::Sunday[4]);
  f(std::chrono::year(2024) / 2 / std::chrono::Sunday[std::chrono::last]);
  f(std::chrono::February / std::chrono::Sunday[4]);
  f(std::filesystem::path());
  f(std::filesystem::path("/usr/lib/../share/x.txt"));
  f(std::unique_ptr<int>());
  f(std::make_unique<int>(4));
  f(std::unique_ptr<const string>(new string("const")));
  f(make_vector<std::unique_ptr<tree>>(std::make_unique<tree>(tree{1, {{2, {}}}}), nullptr));
}

/// Calls `f` with aggregates and classes with hooks.
template <class F>
void for_each_of_classes(F f) {
  using namespace std::chrono_literals;
  using std::string;
  f(nothing{});
  f(point{1, 2});
  f(padded{'c', 0.5});
  f(flags{true, false});
  f(tree{1, {{2, {{3, {}}}}, {4, {}}}});
  f(chain{1, make_chain(20)});
  f(make_either());
  f(with_const{3, "const"});
  f(deep{{1, 2}, {{{"k", std::pair<int, padded>{1, {'a', 2}}}, {"none", {}}}}, {"a", "b"}});
  f(big{{1, 2, 3}, "tail"});
  f(account("eve", 3));
  f(make_holder());
  f(hooked{42});
  f(box<std::vector<hooked>>({{1}, {2}}));
  f(std::vector<point>{{1, 2}, {3, 4}});
  f(std::vector<std::byte>(300, std::byte{9}));
  f(std::vector<nothing>(5));
  f(std::vector<big>(2));
  f(std::pair<big, int>(big{}, 5));
  f(std::variant<int, big>(big{{7}, "variant"}));
  f(std::map<string, std::vector<std::pair<double, flags>>>{{"m", {{1.5, {true, true}}}}});
  f(tandem::crash_report{tandem::exit_status::make(tandem::ending::signalled, 9, tandem::cause::out_of_memory),
                         "task",
                         "worker",
                         12,
                         2,
                         true,
                         "type",
                         "message",
                         "standard error",
                         {5ns, 6}});
}

/// Calls `f` with a value of every kind that may cross, edge cases among them.
template <class F>
void for_each_sample(F f) {
  for_each_of_plain_values(f);
  for_each_of_containers(f);
  for_each_of_wrappers(f);
  for_each_of_classes(f);
}

}  // namespace samples
