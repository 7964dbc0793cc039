#pragma once
#include <pthread.h>
#include <sys/types.h>
#include <linux/futex.h>
