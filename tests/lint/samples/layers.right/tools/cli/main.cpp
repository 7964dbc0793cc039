#include <tandem/process.hpp>
#include <tandem/detail/base_x.hpp>
#include "os/kernel.hpp"
#include "kernel/calls.hpp"
