#include <string>

#include "os/kernel.hpp"
#include "a.hpp"
