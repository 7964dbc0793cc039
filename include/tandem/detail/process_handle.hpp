#pragma once
// What all tandem::process<R> have in common, whatever R is.
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <tandem/crash_report.hpp>
#include <tandem/detail/call.hpp>
#include <tandem/detail/export.hpp>
#include <tandem/detail/stop_all.hpp>
#include <tandem/detail/transfer_callable.hpp>
#include <tandem/stop_source.hpp>
#include <tandem/transfer.hpp>

namespace tandem::detail {

struct process_start {
  std::string name = {};
  bool fresh_image = false;
  std::filesystem::path cwd = {};
  std::map<std::string, std::string> environment = {};
  bool capture_stderr = false;
  nanoseconds stop_grace{};
  nanoseconds kill_grace{};
  bool unlisted = false;  // active_workers() learns of it from whoever started it
};

/// What a copy of the program runs: it has this memory, so that nothing need be encoded but the result.
struct copied_call {
  void (*run)(void* argument, message& result) = nullptr;
  void* argument = nullptr;
  bool allow_threads = false;
};

class process_core;

class TANDEM_EXPORT process_handle {
 public:
  process_handle() noexcept;
  /// `call` is what run_call() in the worker reads.
  process_handle(process_start options, message call);
  process_handle(process_start options, copied_call call);
  process_handle(process_handle&&) noexcept;
  process_handle& operator=(process_handle&&) noexcept;
  ~process_handle();

  void join() const;
  bool join_until(clock::time_point deadline) const;
  message take() const;
  bool running() const;
  bool joinable() const noexcept;
  std::optional<exit_status> status() const;
  std::optional<crash_report> report() const;
  bool request_stop() const;
  tandem::stop_source get_stop_source() const;
  const std::string& name() const noexcept;
  pid_t id() const noexcept;
  int native_handle() const noexcept;
  void signal(int number) const;
  void kill() const;

 private:
  friend void finish_all(std::span<process_handle* const> handles) noexcept;
  process_core& core() const;
  std::unique_ptr<process_core> core_;
};

/// The token that a stop of this worker process reaches; the first call starts the thread that listens for it.
TANDEM_EXPORT std::stop_token worker_stop_token();

/// What the worker calls: it reads a function and its arguments, calls it, and writes what it returned.
using entry = void (*)(reader&, writer&);

/// An argument as the function gets it: text that travelled as a std::string is a C string again.
template <class A>
decltype(auto) pass_argument(carried_t<A>& value) noexcept {
  if constexpr (std::is_same_v<A, carried_t<A>>) {
    return std::move(value);
  } else {
    return static_cast<A>(value.data());
  }
}

// Runs in the worker process. Function and arguments are gone when this returns, before the result is said to be there.
template <class R, class F, class... A>
void run_call(reader& in, writer& out) {
  F f = read_callable<F>(in);
  std::tuple<carried_t<A>...> arguments{read_value<carried_t<A>>(in)...};
  finish(in);
  const auto call = [&](auto&... argument) -> R {
    if constexpr (takes_token<F, A...>) {
      return call_as<R>(std::move(f), worker_stop_token(), pass_argument<A>(argument)...);
    } else {
      return call_as<R>(std::move(f), pass_argument<A>(argument)...);
    }
  };
  if constexpr (std::is_void_v<R>) {
    std::apply(call, arguments);
  } else {
    out(std::apply(call, arguments));
  }
}

template <class R, class F, class... A>
inline constexpr bool crosses_as_call = transferable_callable<F> && (transferable<carried_t<A>> && ...) &&
                                        (std::is_void_v<R> || transferable<R>);

/// True if copying a T runs no code of the user's: nobody can tell whether it is copied.
template <class T, class... Outer>
consteval bool copied_unseen();
template <class... Outer, class... Inside>
consteval bool all_copied_unseen(types<Inside...>) {
  return (copied_unseen<Inside, Outer...>() && ...);
}
template <class T, class... Outer>
consteval bool copied_unseen() {
  if constexpr (std::is_trivially_copyable_v<T> || (std::is_same_v<T, Outer> || ...)) {
    return true;
  } else if constexpr (kind_of<T> == kind::refused || kind_of<T> == kind::hook || kind_of<T> == kind::unique_ptr) {
    return false;
  } else {
    return all_copied_unseen<T, Outer...>(inside_of<T>{});
  }
}

/// What is encoded, of an argument that was forwarded as A: decayed, and a copy if that can be told, or it is moved from.
template <class A>
using encoded_as =
    std::conditional_t<std::is_lvalue_reference_v<A> && copied_unseen<std::remove_cvref_t<A>>() &&
                           std::is_same_v<std::remove_const_t<std::remove_reference_t<A>>, std::decay_t<A>>,
                       const std::decay_t<A>&, std::decay_t<A>>;
template <class A>
encoded_as<A> to_encode(std::remove_reference_t<A>& argument) {
  static_assert(std::is_constructible_v<std::decay_t<A>, A>,
                "tandem: an argument is passed by value, and this one cannot be copied: std::move() it");
  return static_cast<encoded_as<A>>(static_cast<A&&>(argument));
}

template <class R, class F, class... A>
message make_call(const F& f, const A&... arguments) {
  writer out;
  write_code(out, reinterpret_cast<const void*>(&run_call<R, F, A...>));
  write_callable(out, f);
  (write_argument(out, arguments), ...);
  return take_message(std::move(out));
}

/// An argument of a call in a copy of the program. Handles are passed as to any other process: those that this process
/// has in its memory are its own.
template <class A>
struct kept_argument {
  A value;
  explicit kept_argument(A&& a) : value(std::move(a)) {}
  A& get() noexcept { return value; }
};
template <class A>
requires(carries_handles<A>&& transferable<A>) struct kept_argument<A> {
  message sent;
  std::optional<A> received = {};
  explicit kept_argument(const A& a) {
    writer out;
    out(a);
    sent = take_message(std::move(out));
  }
  A& get() {
    reader in = make_reader(sent.bytes, sent.handles);
    return received.emplace(read_value<A>(in));
  }
};

/// Calls `f` in a copy of the program, and encodes what it returned.
template <class R, class F, class... A>
struct call_in_copy {
  F f;
  std::tuple<kept_argument<A>...> arguments;

  static void run(void* self, message& result) {
    auto& call = *static_cast<call_in_copy*>(self);
    const auto invoke = [&](auto&... argument) -> R {
      if constexpr (takes_token<F, A...>) {
        return call_as<R>(std::move(call.f), worker_stop_token(), std::move(argument.get())...);
      } else {
        return call_as<R>(std::move(call.f), std::move(argument.get())...);
      }
    };
    if constexpr (std::is_void_v<R>) {
      std::apply(invoke, call.arguments);
    } else {
      writer out;
      out(std::apply(invoke, call.arguments));
      result = take_message(std::move(out));
    }
  }
};

}  // namespace tandem::detail
