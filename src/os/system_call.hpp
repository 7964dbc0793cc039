#pragma once
// A system call without the C library, which would take two pages from a fresh clone that it need not have: the one with
// the code of syscall(), and the one with errno, which is written when a call fails.
#include <unistd.h>

#include <cerrno>
#include <type_traits>

namespace tandem::os {

/// What it returns, or minus errno.
template <class... Arguments>
[[gnu::always_inline]] inline long system_call(long number, Arguments... arguments) noexcept {
  static_assert(sizeof...(Arguments) <= 4);
#if defined(__x86_64__) && !defined(__ILP32__)
  [[maybe_unused]] const auto word = [](auto argument) {
    if constexpr (std::is_convertible_v<decltype(argument), long>) {
      return static_cast<long>(argument);
    } else {
      return reinterpret_cast<long>(static_cast<const volatile void*>(argument));
    }
  };
  const long words[] = {word(arguments)..., 0, 0, 0, 0};
  register long fourth asm("r10") = words[3];
  long result = number;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(words[0]), "S"(words[1]), "d"(words[2]), "r"(fourth)
               : "rcx", "r11", "memory");
  return result;
#else
  const long result = ::syscall(number, arguments...);
  return result < 0 ? -errno : result;
#endif
}

}  // namespace tandem::os
