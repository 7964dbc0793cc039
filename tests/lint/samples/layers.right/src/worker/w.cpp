#include "os/kernel.hpp"
#include "nowhere/x.hpp"
#include <tandem/tandem.hpp>
