#pragma once
#include <tandem/error.hpp>
#include <tandem/pool.hpp>
#include "os/kernel.hpp"
