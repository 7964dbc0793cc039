// How aggregates are taken apart: the answers are the compiler's.
#include <any>
#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <tandem/detail/base_aggregate.hpp>
#include <tandem/detail/base_name.hpp>

namespace {

using namespace tandem::detail;

template <class T>
inline constexpr std::size_t members = count_initialisers<T>();
template <class T>
inline constexpr aggregate_shape shape = shape_of<T, members<T>>();
template <class T, std::size_t N>
inline constexpr bool plain = shape<T> == aggregate_shape::plain&& members<T> == N;

struct nothing {};
struct base {
  int b;
};
struct no_default {
  explicit no_default(int);
  int v;
};
struct explicit_default {
  explicit explicit_default() {}
};

// ---- plain ones --------------------------------------------------------------------------------------------------------

struct mixed {
  int a;
  std::string s;
  std::vector<int> v;
  std::optional<int> o;
  std::map<int, int> m;
  std::unique_ptr<int> p;
  double d;
  std::array<int, 4> arr;
  std::array<std::array<char, 65536>, 4> large;  // the count must not depend on the size
};
struct first_without_default {
  no_default n;
  int b;
};
struct last_without_default {
  int b;
  no_default n;
};
struct constants {
  const int a;
  std::string s;
};
struct move_only_constants {
  const std::unique_ptr<int> p;
  const int x;
};
struct wrappers {
  std::optional<std::chrono::nanoseconds> o;
  std::variant<int, std::string> v;
  std::tuple<int, std::string> t;
  std::pair<int, int> p;
};
struct erased {
  std::function<void()> f;
  int x;
};
struct any_only {
  std::any a;
};
struct any_first {
  std::any a;
  int b;
};
struct kids {
  std::vector<kids> k;
};
struct next {
  std::unique_ptr<next> n;
};
struct copyable_in_name_only {
  std::vector<std::map<std::string, std::unique_ptr<int>>> v;
};
struct one_optional {
  std::optional<std::string> s;
};
struct nested {
  base b;
  nothing n;
  std::monostate m;
};
struct with_defaults {
  bool a = true;
  int b = 3;
  std::string c = "x";
};
struct with_functions {
  explicit operator int() const;
  int x;
};
struct with_explicit {
  explicit_default e;
  int b;
};
struct seventeen {
  std::string a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};

static_assert(plain<nothing, 0>);
static_assert(plain<mixed, 9>);
static_assert(plain<first_without_default, 2>);
static_assert(plain<last_without_default, 2>);
static_assert(plain<constants, 2>);
static_assert(plain<move_only_constants, 2>);
static_assert(plain<wrappers, 4>);
static_assert(plain<erased, 2>);
static_assert(plain<any_only, 1>);
static_assert(plain<any_first, 2>);
static_assert(plain<kids, 1>);
static_assert(plain<next, 1>);
static_assert(plain<copyable_in_name_only, 1>);
static_assert(plain<one_optional, 1>);
static_assert(plain<nested, 3>);
static_assert(plain<with_defaults, 3>);
static_assert(plain<with_functions, 1>);
static_assert(plain<with_explicit, 2>);
static_assert(plain<seventeen, 17>);
static_assert(std::is_same_v<member_type<constants, 0>, int>);
static_assert(std::is_same_v<member_type<mixed, 8>, std::array<std::array<char, 65536>, 4>>);

// ---- C arrays ------------------------------------------------------------------------------------------------------------

struct only_array {
  int a[3];
};
struct array_between {
  int x;
  char a[2];
  std::string s;
};
struct array_and_no_default {
  std::string s;
  int a[3];
  no_default n;
};
struct no_default_and_array {
  no_default n;
  int a[3];
};
struct huge_array {
  char c[100000];
};
struct matrix {
  double m[3][3];
};
struct array_of_one {
  int a[1];
  int b;
};

static_assert(shape<only_array> == aggregate_shape::c_array);
static_assert(shape<array_between> == aggregate_shape::c_array);
static_assert(shape<array_and_no_default> == aggregate_shape::c_array);
static_assert(shape<no_default_and_array> == aggregate_shape::c_array);
static_assert(shape<huge_array> == aggregate_shape::c_array);
static_assert(shape<matrix> == aggregate_shape::c_array);
static_assert(plain<array_of_one, 2> && std::is_same_v<member_type<array_of_one, 0>, int[1]>);

// ---- bases ---------------------------------------------------------------------------------------------------------------

struct empty_base : nothing {};
struct base_and_member : base {
  int x;
};
struct base_only : base {};
struct base_and_no_default : base {
  no_default n;
};

static_assert(shape<empty_base> == aggregate_shape::base_class);
static_assert(shape<base_and_member> == aggregate_shape::base_class);
static_assert(shape<base_only> == aggregate_shape::base_class);
static_assert(shape<base_and_no_default> == aggregate_shape::base_class);

// ---- references ----------------------------------------------------------------------------------------------------------

struct lvalue_reference {
  int& r;
};
struct const_reference {
  int x;
  const int& r;
};
struct rvalue_reference {
  std::string&& r;
};
struct const_class_reference {
  const std::string& r;
  int y;
};

static_assert(shape<lvalue_reference> == aggregate_shape::reference);
static_assert(shape<const_reference> == aggregate_shape::reference);
static_assert(shape<rvalue_reference> == aggregate_shape::reference);
static_assert(shape<const_class_reference> == aggregate_shape::reference);

// ---- names ---------------------------------------------------------------------------------------------------------------

static_assert(std_name<std::vector<int>>() == "vector");
static_assert(std_name<std::string>() == "basic_string");
static_assert(std_name<std::chrono::seconds>() == "chrono::duration");
static_assert(std_name<std::map<int, int>::value_compare>().empty());
static_assert(std_name<nothing>().empty());
static_assert(std_name<no_default>().empty());
[[maybe_unused]] const auto lambda = [n = 1](int x) mutable { return n += x; };
static_assert(is_lambda<std::remove_const_t<decltype(lambda)>>());
static_assert(!is_lambda<std::optional<std::remove_const_t<decltype(lambda)>>>());
static_assert(!is_lambda<base>());

}  // namespace
