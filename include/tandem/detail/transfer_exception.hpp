#pragma once
// The registry of exception types that cross as themselves, and the definition of register_exception.
#include <atomic>
#include <exception>
#include <typeinfo>

#include <tandem/transfer.hpp>

namespace tandem::detail {

/// One registered type. Constant-initialised and never destroyed, so that it can be registered before main, used after
/// it, and read in a forked child without a lock.
struct exception_entry {
  const std::type_info* type;
  void (*write)(writer&, const std::exception&);
  std::exception_ptr (*read)(reader&);  // throws if the bytes are no such exception, or it cannot be copied
  exception_entry* next = nullptr;
  std::atomic<bool> registered = false;
};

/// Adds it to the registry, once.
TANDEM_EXPORT void add_exception(exception_entry& entry) noexcept;

/// Writes an exception as read_failure() reads it: as itself if its type is registered or known, else as a
/// remote_exception. Errors: std::bad_alloc.
TANDEM_EXPORT void write_failure(writer&, const std::exception_ptr&);
/// Errors: decode_error; std::bad_alloc.
TANDEM_EXPORT std::exception_ptr read_failure(reader&);

template <class E>
void write_exception(writer& w, const std::exception& e) {
  write_value<E>(w, dynamic_cast<const E&>(e));
}

template <class E>
std::exception_ptr read_exception(reader& r) {
  E e = read_value<E>(r);
  finish(r);
  try {
    throw e;  // not make_exception_ptr, to which a copy constructor may not throw
  } catch (E&) {
    return std::current_exception();
  }
}

template <class E>
inline constinit exception_entry entry_of{&typeid(E), &write_exception<E>, &read_exception<E>};

}  // namespace tandem::detail

namespace tandem {

template <class E>
void register_exception() {
  static_assert(std::derived_from<E, std::exception>,
                "tandem: register_exception is for types derived from std::exception");
  detail::require_transferable<E>();
  static_assert(!carries_handles<E>, "tandem: an exception cannot carry a descriptor to another process");
  detail::add_exception(detail::entry_of<E>);
}

}  // namespace tandem
