#include <sys/syscall.h>
#include <unistd.h>
long f() { return syscall(1); }
