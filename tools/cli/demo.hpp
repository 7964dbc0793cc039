#pragma once

namespace cli {

/// Two processes and two threads, each saying its number. Then, if asked for, what that shows.
/// Errors: std::system_error if standard output fails; those of tandem::process and tandem::thread.
void demo();
void demo_explained();

}  // namespace cli
