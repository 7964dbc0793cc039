// A library with functions whose names cross.
namespace {

int triple(int x) { return 3 * x; }

}  // namespace

extern "C" __attribute__((visibility("default"))) int (*plugin_function())(int) { return &triple; }
extern "C" __attribute__((visibility("default"))) int (*plugin_lambda())(int) {
  return [](int x) { return x - 3; };
}
