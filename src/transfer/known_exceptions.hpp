#pragma once
// The exceptions of the standard library and of tandem: which there are, and how each is rebuilt with the same what().
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <typeinfo>

#include <tandem/transfer.hpp>

namespace tandem::detail {

using known_index = std::uint8_t;

/// The index of exactly this type, if it is one of them.
std::optional<known_index> known_exception_index(const std::type_info& type) noexcept;
/// Writes what its text does not tell.
void write_known_exception(writer& w, known_index index, const std::exception& e);
/// The exception with this text, to the end of the bytes.
/// Errors: decode_error.
std::exception_ptr read_known_exception(reader& r, known_index index, const std::string& text);

}  // namespace tandem::detail
