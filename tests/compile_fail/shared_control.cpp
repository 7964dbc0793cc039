// compiles
#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <complex>
#include <optional>
#include <tuple>
#include <variant>

#include <tandem/shared.hpp>
#include <tandem/sync.hpp>

namespace my {
enum class colour { red, green };
struct point {
  double x, y;
};
class vector3 {  // what it keeps private is its own word
 public:
  vector3() = default;
  double length() const { return x_ * x_ + y_ * y_ + z_ * z_; }

 private:
  double x_ = 0, y_ = 0, z_ = 0;
};
union number {
  long whole;
  double real;
};
struct derived : point {
  int z;
};
class counter {  // neither copied as bytes nor taken apart
 public:
  counter() = default;
  counter(const counter&) = delete;

 private:
  std::atomic<int> count_ = 0;
};
struct state {
  int n;
  bool ready;
  unsigned flags : 3;
  colour c;
  char name[64];
  double matrix[3][4];
  point corners[2];
  std::array<point, 4> more;
  std::pair<int, long> pair;
  std::tuple<char, std::optional<point>> tuple;
  std::variant<int, double> either;
  std::atomic<long> counter;
  std::atomic_flag flag;
  std::bitset<70> bits;
  std::complex<float> z;
  std::chrono::steady_clock::time_point when;
  vector3 v;
  number u;
  derived d;
  my::counter own;
  tandem::recursive_mutex lock;
  tandem::condition_variable changed;
  tandem::shared_mutex readers;
  tandem::event begun;
  tandem::once_flag once;
};
struct empty {};
struct text {
  char all[10000];
  int size;
};
}  // namespace my
template <>
inline constexpr bool tandem::enable_shared<my::counter> = true;

static_assert(tandem::shareable<my::state>);
static_assert(tandem::shareable<my::empty>);
static_assert(tandem::shareable<my::text>);
static_assert(!tandem::shareable<int*>);

void all() {
  tandem::shared<my::state> s;
  tandem::shared_array<std::atomic<int>> a(3);
  tandem::shared_array<my::text> t(3);
  tandem::shared_array<const my::text> r = t.read_only();
  tandem::shared<int> i(5);
  tandem::shared<tandem::binary_semaphore> semaphore(1);
  tandem::shared<tandem::barrier> barrier(2);
  tandem::shared<tandem::latch> latch(2);
  static_cast<void>(r.span()[0].size + *i + s->n + a.span()[0]);
}
