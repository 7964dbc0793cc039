#include "worker/child_side.hpp"

#include <cxxabi.h>
#include <stdio_ext.h>
#include <ext/stdio_sync_filebuf.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <mutex>
#include <vector>

#include <tandem/detail/process_handle.hpp>
#include <tandem/error.hpp>

#include "observe/log.hpp"
#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/fork_watch.hpp"
#include "worker/protocol.hpp"
#include "worker/runtime.hpp"

namespace tandem::worker {

namespace {

const own_worker* self = nullptr;  // set once, before the user's function
std::terminate_handler terminate_before = nullptr;

std::string readable_type(const std::type_info& type) {
  int status = 0;
  char* name = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string text = status == 0 ? name : type.name();
  std::free(name);
  return text;
}

// Leaves a note of the exception that nobody caught, for the crash report; then what would have happened anyway.
[[noreturn]] void terminate_with_note() {
  static std::atomic<bool> noted{false};
  if (self != nullptr && !noted.exchange(true)) {
    if (const std::type_info* type = abi::__cxa_current_exception_type()) {
      set_text(self->page->exception_type, readable_type(*type));
      try {
        throw;
      } catch (const std::exception& e) {
        set_text(self->page->exception_what, e.what());
      } catch (...) {
        set_text(self->page->exception_what, "an exception that is no std::exception");
      }
    } else {
      set_text(self->page->exception_what, "std::terminate was called, with no exception in flight");
    }
  }
  if (terminate_before != nullptr) terminate_before();
  std::abort();
}

// Streams of C++ that keep nothing back from stdio, as they are unless sync_with_stdio(false) was called: flushing them
// costs each worker a few page faults and gives nothing.
const std::streambuf* unbuffered_cout = nullptr;
const std::streambuf* unbuffered_clog = nullptr;

const std::streambuf* if_unbuffered(const std::ostream& stream) {
  std::streambuf* buffer = stream.rdbuf();
  return dynamic_cast<__gnu_cxx::stdio_sync_filebuf<char>*>(buffer) != nullptr ? buffer : nullptr;
}

// Whole output, once; no destructor of a static object runs in a worker: it belongs to the program it was cloned from.
// False if some of what was printed could not be written.
[[gnu::hot]] bool flush_output() noexcept {
  try {
    if (std::cout.rdbuf() != unbuffered_cout) std::cout.flush();
    if (std::clog.rdbuf() != unbuffered_clog) std::clog.flush();
  } catch (...) {  // the user asked for exceptions from a stream; stdio says below what is wrong
  }
  std::fflush(nullptr);
  return std::ferror(stdout) == 0;  // a line-buffered stream may have failed long before this
}

void forward_log(log_level level, std::string_view text) noexcept {
  if (self == nullptr) return;  // keeper and server have nothing to say that the host does not learn otherwise
  static std::mutex writing;
  const std::lock_guard lock(writing);
  slot_page& page = *self->page;
  const std::size_t used = page.log_used;
  const std::size_t length = text.size();
  if (used > log_bytes || length > 0xFFFF || log_bytes - used < length + 3) {
    ++page.log_dropped;
    return;
  }
  const auto record = std::span(page.log).subspan(used);
  record[0] = static_cast<char>(level);
  record[1] = static_cast<char>(length & 0xFF);
  record[2] = static_cast<char>(length >> 8);
  std::memcpy(record.data() + 3, text.data(), length);
  page.log_used = static_cast<std::uint32_t>(used + length + 3);
}

// Puts the encoded outcome where the host finds it: in the page, or in a memfd that goes to the server. An errno, or 0.
[[gnu::hot]] int publish(std::span<const std::byte> bytes, phase inside, phase outside) noexcept {
  slot_page& page = *self->page;
  phase reached = inside;
  if (bytes.size() <= page.result.size()) {
    std::copy(bytes.begin(), bytes.end(), page.result.begin());
    page.result_bytes = static_cast<std::uint32_t>(bytes.size());
  } else {
    const int made = os::anonymous_file("tandem result", 0);
    if (made < 0) return -made;
    const file_descriptor file(made);
    if (const int failed = os::write_at(file.get(), bytes, 0)) return -failed;
    const door_message message{door_kind::result};
    const int fd = file.get();
    if (const int failed = os::send(self->door, {bytes_of(message)}, std::span(&fd, 1))) return -failed;
    reached = outside;
  }
  page.state.store(static_cast<std::uint32_t>(reached), std::memory_order_release);
  return 0;
}

void publish_exception(const std::exception_ptr& exception) {
  std::vector<std::byte> bytes;
  detail::encode_exception(bytes, exception);
  if (publish(bytes, phase::error, phase::error_out) == 0) return;
  // Too long for the page, and no memfd to be had: type and the beginning of the text must do.
  std::string what = "an exception whose text is too long to be handed over";
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    what.assign(e.what(), ::strnlen(e.what(), 1024));
  } catch (...) {
  }
  bytes.clear();
  detail::encode_exception(bytes, std::make_exception_ptr(remote_exception("(its exception did not fit)", what)));
  publish(bytes, phase::error, phase::error_out);
}

[[gnu::hot]] void publish_value(std::span<const std::byte> bytes) {
  const int failed = publish(bytes, phase::value, phase::value_out);
  if (failed == 0) return;
  publish_exception(
      std::make_exception_ptr(resource_exhausted("handing over a result of " + std::to_string(bytes.size()) + " bytes",
                                                 std::error_code(failed, std::generic_category()))));
}

std::vector<std::byte> read_call(int memfd) {
  std::vector<std::byte> call(static_cast<std::size_t>(os::check(os::size_of(memfd), "fstat")));
  os::check(os::read_at(memfd, call, 0), "pread");
  os::close(memfd);
  return call;
}

// The function, from its encoded call to its encoded result.
[[gnu::hot]] std::vector<std::byte> execute(const worker_start& start) {
  std::vector<std::byte> far;
  std::span<const std::byte> call = start.call;
  if (start.call_memfd >= 0) call = far = read_call(start.call_memfd);
  reader in = detail::make_reader(call);
  writer out;
  // SAFETY: read_code() only gives addresses of code, and the call was made by detail::make_call, which names a
  // run_call.
  const auto entry = reinterpret_cast<detail::entry>(const_cast<void*>(detail::read_code(in)));
  entry(in, out);
  return detail::take_bytes(std::move(out));
}

[[gnu::hot]] void warn_of_lost_output() noexcept {
  if (!flush_output())
    observe::log(log_level::warning, "some of what it printed could not be written to standard output");
}

[[gnu::hot]] void become_worker(const worker_start& start) {
  os::set_role(os::role::worker);
  os::lead_group();
  os::die_with_parent();
  if (os::parent_pid() != start.server) os::exit_now(1);  // it died before the line above
  os::close_all(start.to_close);
  os::restore_descriptor_limit();
  self = &start.self;
  os::keep_from_copies(self->page, page_bytes);  // a child of this worker may live when the page is another worker's
  os::name_thread(self->name.data());
  os::unblock_signals();
  auto fresh = static_cast<std::uint32_t>(phase::fresh);
  if (!self->page->state.compare_exchange_strong(fresh, static_cast<std::uint32_t>(phase::begun))) os::exit_now(1);
}

}  // namespace

const own_worker* this_process() noexcept { return self; }

void forget_worker() noexcept { self = nullptr; }

namespace {

void rehearsed(reader&, writer&) {}

// Goes once through what every worker does, so that it is done here and not in each of them: the dynamic linker looks up
// what is called for the first time, and the module of the program is found.
void rehearse() {
  try {
    writer out;
    detail::write_code(out, reinterpret_cast<const void*>(&rehearsed));
    const std::vector<std::byte> bytes = detail::take_bytes(std::move(out));
    reader in = detail::make_reader(bytes);
    detail::read_code(in);
  } catch (const error&) {  // a program without a build-id: each start says so, where it can be read
  }
  flush_output();
  os::lead_group();
  os::name_thread("tandem");
}

}  // namespace

void prepare_child_side() {
  terminate_before = std::set_terminate(terminate_with_note);
  // A worker that calls exit(): runs before the handlers of the program that it was cloned from, and instead of them.
  ::on_exit(
      [](int code, void*) {
        if (os::current_role() == os::role::detached) return;
        flush_output();
        os::exit_now(code);
      },
      nullptr);
  ::__fpurge(stdout);  // what the program had written but not flushed is its own to write
  ::__fpurge(stderr);
  std::clearerr(stdout);
  // Lines stay whole when workers share a pipe: one write for each line, instead of one whenever a buffer is full.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  unbuffered_cout = if_unbuffered(std::cout);
  unbuffered_clog = if_unbuffered(std::clog);
  observe::forward_to(forward_log);
  rehearse();
}

// The reference to a forced unwind is null: see thread_core::execute().
[[gnu::hot]] __attribute__((no_sanitize("undefined"))) void run_worker(const worker_start& start) {
  become_worker(start);
  try {
    const std::vector<std::byte> result = execute(start);
    warn_of_lost_output();
    publish_value(result);
    os::exit_now(0);
  } catch (const abi::__forced_unwind&) {  // pthread_exit; swallowing it would abort
    flush_output();
    throw;
  } catch (...) {
    const std::exception_ptr exception = std::current_exception();
    warn_of_lost_output();
    publish_exception(exception);
    os::exit_now(1);
  }
}

}  // namespace tandem::worker
