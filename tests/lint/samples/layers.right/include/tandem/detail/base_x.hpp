#pragma once
#include <tandem/transfer.hpp>
