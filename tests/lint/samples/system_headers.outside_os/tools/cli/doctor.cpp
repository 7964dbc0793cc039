#include <sys/prctl.h>
#include <string>
long f() { return syscall(1); }
