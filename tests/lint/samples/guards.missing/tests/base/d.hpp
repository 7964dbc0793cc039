// #pragma once
#include <string>
#pragma once
