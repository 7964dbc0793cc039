// #include <unistd.h>
#include <unistd.h>
#include <sys/mman.h>
#include <csignal>
#include <sys/types.h>
long f() { return ::syscall (39); }
const char* s = "syscall(39)";
