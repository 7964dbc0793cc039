#pragma once
// All that threads and processes wait for each other with.
#include <tandem/condition_variable.hpp>
#include <tandem/mutex.hpp>
