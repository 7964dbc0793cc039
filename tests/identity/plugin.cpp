// A library whose functions are called in a worker. IDENTITY_BUILD makes builds of it that differ.
#if !defined(IDENTITY_BUILD)
#define IDENTITY_BUILD 1
#endif

namespace {
int state = 0;  // each copy of the library has one of its own
}

extern "C" {
__attribute__((visibility("default"))) int identity_scaled(int n) { return 100 * IDENTITY_BUILD + n; }
__attribute__((visibility("default"))) void identity_set(int n) { state = n; }
__attribute__((visibility("default"))) int identity_stateful(int n) { return state + n; }
}
