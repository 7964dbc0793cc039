#pragma once
// The opt-in that says a type may live in memory which several processes map.

namespace tandem {

namespace detail {
/// True of tandem's locks and the like, which work for one program and its workers: what they write names those.
template <class T>
inline constexpr bool is_of_session = false;
}  // namespace detail

/// Specialise it as true for a type that may live in shared memory although it can be neither copied as bytes nor taken
/// apart: no pointer inside that leads out of the object or to itself, no virtual function, no lock of the standard
/// library. Whoever specialises it vouches for that.
template <class T>
inline constexpr bool enable_shared = detail::is_of_session<T>;

}  // namespace tandem
