#include <tandem/init.hpp>

#include "worker/runtime.hpp"

namespace tandem {

void init(init_options options) { worker::runtime::initialise(std::move(options)); }

}  // namespace tandem
