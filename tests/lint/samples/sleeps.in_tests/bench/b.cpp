void a() { usleep(1); }
