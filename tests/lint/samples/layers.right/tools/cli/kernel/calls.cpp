#include "calls.hpp"
#include "os/kernel.hpp"
