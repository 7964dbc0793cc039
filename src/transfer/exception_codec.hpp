#pragma once
// Exceptions as bytes. A type that is registered, of the standard library or of tandem arrives as itself with the same
// what(); any other arrives as remote_exception.
#include <cstddef>
#include <exception>
#include <span>
#include <vector>

namespace tandem::detail {

/// Makes `out` the bytes of an exception, whatever it is; empty if even that is impossible (no memory).
void encode_exception(std::vector<std::byte>& out, const std::exception_ptr& exception) noexcept;
/// The exception whose bytes these are; a remote_exception for any other bytes. Null never.
/// Errors: std::bad_alloc.
std::exception_ptr decode_exception(std::span<const std::byte> bytes);
/// Throws it.
[[noreturn]] void rethrow_encoded(std::span<const std::byte> bytes);

}  // namespace tandem::detail
