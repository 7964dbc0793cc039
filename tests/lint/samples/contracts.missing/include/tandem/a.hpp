#pragma once
namespace tandem {

void bare();

/// Gives the answer.
int throws();

/// Errors: none.
int first_line() noexcept;

/// Gives the value when it is there.
/// Errors: closed.
int get();

/// Waits for the end of it.
void wait() noexcept;

/// Gives the answer.
/// Error: std::bad_alloc.
int misspelt() noexcept;

/// Gives the answer.
/// Errors:
/// Cost: one call.
int empty_key();

class thing {
 public:
  explicit thing(int value);
  int value() const noexcept;

  /// The first of them.
  /// Errors: std::bad_alloc.
  int one();

  int apart();

 private:
  int hidden();
};

template <class T>
  requires(sizeof(T) > 1)
T bare_template(T value) {
  return value;
}

}  // namespace tandem
