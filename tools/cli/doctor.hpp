#pragma once

namespace cli {

/// What this machine allows this user, a row for each thing that was looked at; the same as JSON.
/// Needs: no other thread, and no tandem::init() before. Errors: std::system_error if standard output fails.
/// Gives true if tandem works here.
bool doctor();
bool doctor_as_json();

}  // namespace cli
