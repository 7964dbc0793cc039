#pragma once
namespace tandem {
void stop(int n, bool now = true);
void ask(const bool);
bool fine(int n);
struct text {
  void add(bool wide);
  void operator()(bool value);

 private:
  void hidden(bool value);
};
namespace detail {
void inside(bool value);
}
}  // namespace tandem
