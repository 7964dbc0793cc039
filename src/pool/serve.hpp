#pragma once
// The side of a worker process: what it does from its start to its end.
#include <tandem/detail/process_handle.hpp>
#include <tandem/file_descriptor.hpp>

#include "pool/worker_shape.hpp"

namespace tandem::pools {

/// The call that a pool's worker process is started with. `region` and `socket` are its own ends.
/// Errors: as detail::write_code().
detail::message make_worker_call(file_descriptor region, file_descriptor socket, const worker_shape& shape);

}  // namespace tandem::pools
