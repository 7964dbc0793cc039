#pragma once
// All of tandem. Each part has a smaller header of its own. The headers of the standard library are for those who catch
// a std::future_error, hold a lock in a std::shared_lock, or look at a range of units, with this header alone.
#include <future>
#include <ranges>
#include <shared_mutex>

#include <tandem/bytes.hpp>
#include <tandem/crash_report.hpp>
#include <tandem/deadline.hpp>
#include <tandem/error.hpp>
#include <tandem/executor.hpp>
#include <tandem/file_descriptor.hpp>
#include <tandem/future.hpp>
#include <tandem/init.hpp>
#include <tandem/observe.hpp>
#include <tandem/pipe.hpp>
#include <tandem/pool.hpp>
#include <tandem/process.hpp>
#include <tandem/process_pool.hpp>
#include <tandem/queue.hpp>
#include <tandem/shared.hpp>
#include <tandem/socket.hpp>
#include <tandem/stop_source.hpp>
#include <tandem/sync.hpp>
#include <tandem/this_worker.hpp>
#include <tandem/thread.hpp>
#include <tandem/thread_pool.hpp>
#include <tandem/transfer.hpp>
#include <tandem/wait.hpp>
