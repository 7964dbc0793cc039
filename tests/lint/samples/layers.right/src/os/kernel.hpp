#pragma once
#include <tandem/process.hpp>
#include "base/a.hpp"
