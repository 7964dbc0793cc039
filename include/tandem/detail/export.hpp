#pragma once

// The library is built with hidden visibility. TANDEM_EXPORT marks what a program may link against: functions that are
// not inline, and types that are thrown or whose typeid must be one and the same across shared objects. (The older
// spelling of the attribute, since the standard one may not stand before a friend declaration.)
#define TANDEM_EXPORT __attribute__((visibility("default")))
