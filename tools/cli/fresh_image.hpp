#pragma once
// start_method::spawn starts this program afresh to run one function: such an image has nothing else to do.
#include <tandem/process.hpp>

namespace cli {

/// What to start one with.
tandem::process_options as_fresh_image();

/// First in main: an image that was started so runs its function in here, and does not come back.
/// Errors: those of tandem::init().
void serve_if_fresh_image();

}  // namespace cli
