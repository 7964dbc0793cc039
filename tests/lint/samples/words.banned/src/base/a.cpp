// TODO: later
const char* path = "/home/somebody/x";
const char* fine = "/usr/include";
// FIXME
// src/root/x, a/home/b
