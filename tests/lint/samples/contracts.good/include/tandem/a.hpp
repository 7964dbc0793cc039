#pragma once
#include <concepts>

namespace tandem {
namespace detail {
int inside();
template <class T>
struct call {};
template <class F>
  requires std::invocable<F>
struct call<F> {
  int type();
};
}  // namespace detail

enum class colour { red, green };
using callback = void (*)(int);
struct options {
  int width = 1;
  void (*start)() = nullptr;
  long steps[2] = {1, 2};
};

template <class T>
concept small = sizeof(T) < 8 && requires(T t) { t.begin(); };

/// A thing. Types need no keys.
class [[nodiscard]] thing final {
 public:
  thing() noexcept;
  thing(thing&& other) noexcept;
  thing(const thing&) = delete;
  thing& operator=(thing&& other) noexcept;
  /// Makes one of that width.
  /// Errors: std::invalid_argument if it is negative.
  explicit thing(int width) : width_{width}, height_{0} {}
  /// Ends it, and waits for nothing.
  ~thing();

  int width() const noexcept { return width_; }  // in pixels
  int height() const noexcept { return height_; }  // in pixels

  /// Waits for the thing. Blocks: until it is there. Errors: owner_died.
  void lock();
  /// As lock(), with an end.
  /// Blocks: until the time has come.
  /// Errors: owner_died.
  bool lock_for(int seconds);
  bool lock_until(int moment);

  bool joinable() const noexcept { return width_ > 0; }  // not empty
  friend bool operator==(const thing&, const thing&) noexcept = default;
  /// True if a is smaller.
  friend bool operator<(const thing& a, const thing& b) noexcept { return a.width_ < b.width_; }

 protected:
  void half_hidden();

 private:
  void hidden();
  struct inner {
    void also_hidden();
  };
  int width_ = 0;
  int height_{0};
};

thing(int) -> thing;

/// Registers the type.
/// Errors: std::bad_alloc.
template <class E>
  requires(!std::same_as<E, int> && std::copyable<E>)
void add();

/// What the hook of a type looks like, for those that have one.
template <class T>
struct transfer;
template <>
struct transfer<int> {
  static int read(int&);
};

}  // namespace tandem

template <class E>
  requires(!std::same_as<E, int> && std::copyable<E>)
void tandem::add() {}
