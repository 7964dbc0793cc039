#pragma once
// All of tandem. Each part has a smaller header of its own.
#include <tandem/bytes.hpp>
#include <tandem/crash_report.hpp>
#include <tandem/deadline.hpp>
#include <tandem/error.hpp>
#include <tandem/file_descriptor.hpp>
#include <tandem/init.hpp>
#include <tandem/observe.hpp>
#include <tandem/process.hpp>
#include <tandem/shared.hpp>
#include <tandem/stop_source.hpp>
#include <tandem/sync.hpp>
#include <tandem/this_worker.hpp>
#include <tandem/thread.hpp>
#include <tandem/transfer.hpp>
