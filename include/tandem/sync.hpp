#pragma once
// All that threads and processes wait for each other with: locks, conditions, semaphores, events, barriers, latches. They
// are plain objects, in ordinary memory between threads, or in memory that several processes of one session share; a
// session is a program and all processes that it starts.
#include <tandem/barrier.hpp>
#include <tandem/condition_variable.hpp>
#include <tandem/event.hpp>
#include <tandem/latch.hpp>
#include <tandem/mutex.hpp>
#include <tandem/once.hpp>
#include <tandem/semaphore.hpp>
#include <tandem/shared_mutex.hpp>
