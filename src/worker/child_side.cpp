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
#include <tandem/init.hpp>

#include "observe/log.hpp"
#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/session.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/fork_watch.hpp"
#include "worker/fresh_image.hpp"
#include "worker/protocol.hpp"
#include "worker/runtime.hpp"
#include "worker/service.hpp"
#include "worker/start_body.hpp"

// glibc's list of the open streams.
extern "C" std::FILE* _IO_list_all;

namespace tandem::worker {

namespace {

own_worker own;
const own_worker* self = nullptr;  // &own, from before the user's function
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

// The streams of C++. Those that keep nothing back from stdio, as all do unless sync_with_stdio(false) was called, are not
// flushed: that costs each worker a few page faults and gives nothing.
template <class Stream>
struct flushed_stream {
  Stream& stream;
  const void* unbuffered = nullptr;

  void look() {
    auto* buffer = stream.rdbuf();
    using character = typename Stream::char_type;
    unbuffered = dynamic_cast<__gnu_cxx::stdio_sync_filebuf<character>*>(buffer) != nullptr ? buffer : nullptr;
  }
  void flush() const noexcept {
    try {
      if (stream.rdbuf() != unbuffered) stream.flush();
    } catch (...) {  // the user asked for exceptions from a stream; stdio says what is wrong
    }
  }
};

struct all_streams {
  std::ios_base::Init made;  // a library may come here before they are
  flushed_stream<std::ostream> out{std::cout}, log{std::clog};
  flushed_stream<std::wostream> wide_out{std::wcout}, wide_log{std::wclog};

  template <class Action>
  void each(Action action) {
    action(out);
    action(log);
    action(wide_out);
    action(wide_log);
  }
};

[[gnu::hot]] all_streams& streams() {
  static all_streams all;
  return all;
}

// A stream that another thread holds, in a read perhaps, must not hold us up.
void flush_if_free(std::FILE* stream) noexcept {
  if (::ftrylockfile(stream) != 0) return;
  ::fflush_unlocked(stream);
  ::funlockfile(stream);
}

// Whether fflush() of all streams may have something to write: what it looks at itself, but without its lock, which each
// worker would write to, and without its code. Called by the only thread. What a wide stream (_mode > 0) holds cannot be
// seen from here.
[[gnu::hot]] bool holds_output() noexcept {
  for (const std::FILE* stream = _IO_list_all; stream != nullptr; stream = stream->_chain) {
    if (stream->_mode > 0 || stream->_IO_write_ptr > stream->_IO_write_base) return true;
  }
  return false;
}

// Whole output, once; no destructor of a static object runs in a worker: it belongs to the program it was cloned from.
// False if some of what was printed could not be written.
[[gnu::hot]] bool flush_output() noexcept {
  os::block_signals();  // a reader that is gone is an error of the output, and no SIGPIPE that costs the result
  streams().each([](const auto& stream) { stream.flush(); });
  if (os::is_only_thread() || os::thread_count() - service_threads() - stop_threads() <= 1) {
    if (holds_output()) std::fflush(nullptr);
  } else {
    flush_if_free(stdout);
    flush_if_free(stderr);
  }
  return ::ferror_unlocked(stdout) == 0;  // a line-buffered stream may have failed long before this
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

// Not in the frame of each worker: a large one lies in one page more.
[[gnu::noinline]] int send_out(std::span<const std::byte> bytes, std::span<const file_descriptor> handles) noexcept {
  const int made = os::anonymous_file("tandem result", 0);
  if (made < 0) return -made;
  const file_descriptor file(made);
  if (const int failed = os::write_at(file.get(), bytes, 0)) return -failed;
  std::array<int, most_handles_at_once + 1> now;
  for (;; handles = handles.subspan(most_handles_at_once)) {
    const bool last = handles.size() <= most_handles_at_once;
    const std::size_t count = last ? handles.size() : most_handles_at_once;
    now[0] = file.get();
    std::transform(handles.begin(), handles.begin() + static_cast<std::ptrdiff_t>(count), now.begin() + 1,
                   [](const file_descriptor& fd) { return fd.get(); });
    const door_message message{last ? door_kind::result : door_kind::handles};
    const auto sent = std::span<const int>(now).first(count + 1);
    if (const int failed = os::send(self->door, {bytes_of(message)}, last ? sent : sent.subspan(1))) return -failed;
    if (last) return 0;
  }
}

// Puts the encoded outcome where the host finds it: in the page, or in a memfd that goes out of the door. An errno, or 0.
[[gnu::hot]] int publish(std::span<const std::byte> bytes, std::span<const file_descriptor> handles, phase inside,
                         phase outside) noexcept {
  slot_page& page = *self->page;
  phase reached = inside;
  if (bytes.size() <= page.result.size() && handles.empty()) {
    std::copy(bytes.begin(), bytes.end(), page.result.begin());
    page.result_bytes = static_cast<std::uint32_t>(bytes.size());
  } else {
    if (const int failed = send_out(bytes, handles)) return failed;
    reached = outside;
  }
  page.state.store(static_cast<std::uint32_t>(reached), std::memory_order_release);
  return 0;
}

}  // namespace

void publish_exception(const std::exception_ptr& exception) {
  std::vector<std::byte> bytes;
  detail::encode_exception(bytes, exception);
  if (publish(bytes, {}, phase::error, phase::error_out) == 0) return;
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
  publish(bytes, {}, phase::error, phase::error_out);
}

namespace {

[[gnu::hot]] void publish_value(const detail::message& value) {
  const int failed = publish(value.bytes, value.handles, phase::value, phase::value_out);
  if (failed == 0) return;
  if (failed == EPIPE || failed == ECONNRESET || failed == ENOTCONN) {  // the server is gone, and so are we
    set_text(self->page->exception_what, "its connection to the fork server was broken before the result was sent");
    os::exit_now(1);
  }
  publish_exception(std::make_exception_ptr(
      resource_exhausted("handing over a result of " + std::to_string(value.bytes.size()) + " bytes and " +
                             std::to_string(value.handles.size()) + " descriptors",
                         std::error_code(failed, std::generic_category()))));
}

// The function, from its encoded call to its encoded result.
[[gnu::hot]] detail::message execute(std::span<const std::byte> call, std::span<file_descriptor> handles) {
  reader in = detail::make_reader(call, handles);
  writer out;
  // SAFETY: read_code() only gives addresses of code, and the call was made by detail::make_call, which names a
  // run_call.
  const auto entry = reinterpret_cast<detail::entry>(const_cast<void*>(detail::read_code(in)));
  entry(in, out);
  return detail::take_message(std::move(out));
}

[[gnu::noinline]] void set_up(std::span<const std::byte> encoded) {
  const worker_setup setup = read_setup(encoded);
  change_surroundings(setup);
  for (auto* function : setup.on_start) {
    on_worker_start(function);  // for the workers that this one starts
    function();
  }
}

[[gnu::hot]] void warn_of_lost_output() noexcept {
  if (!flush_output())
    observe::log(log_level::warning, "some of what it printed could not be written to standard output");
}

[[gnu::hot]] void become_worker(const worker_start& start) {
  os::set_role(os::role::worker);
  os::lead_group();
  os::die_with_parent();
  os::adopt_orphans();  // so that whoever kills this worker finds its daemons below it
  if (os::parent_pid() != start.server) os::exit_now(1);  // it died before the line above
  os::close_all(start.to_close);
  if (start.standard_error >= 0) {
    os::replace_standard_error(start.standard_error);
    os::close(start.standard_error);
  }
  os::restore_descriptor_limit();
  be_worker(start.self);
  os::keep_from_copies(self->page, page_bytes);  // a child of this worker may live when the page is another worker's
  os::unblock_signals();
  auto fresh = static_cast<std::uint32_t>(phase::fresh);
  if (!self->page->state.compare_exchange_strong(fresh, static_cast<std::uint32_t>(phase::begun))) os::exit_now(1);
}

[[gnu::hot]] void take_name(std::string_view name) {
  set_text(own.name, name);
  os::name_thread(own.name.data());
}

}  // namespace

void flush_before_copy(bool threads_run) noexcept {
  streams().each([](const auto& stream) { stream.flush(); });
  // One of the other threads may sleep in a read, and hold the lock of that stream.
  std::fflush(threads_run ? stdout : nullptr);
}

const own_worker* this_process() noexcept { return self; }

void forget_worker() noexcept { self = nullptr; }

void be_worker(const own_worker& what) {
  own = what;
  self = &own;
  sync::be_process(own.process);
}

namespace {

void rehearsed(reader&, writer&) {}

}  // namespace

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

void prepare_child_side(bool copied) {
  const std::terminate_handler before = std::set_terminate(terminate_with_note);
  if (before != terminate_with_note) terminate_before = before;  // a copy of a worker has it already
  // A worker that calls exit(): runs before the handlers of the program that it was cloned from, and instead of them.
  ::on_exit(
      [](int code, void*) {
        if (os::current_role() == os::role::detached) return;
        flush_output();
        sync::leave();
        os::exit_now(code);
      },
      nullptr);
  if (copied) {  // what the program had written but not flushed is its own to write
    ::__fpurge(stdout);
    ::__fpurge(stderr);
  }
  std::clearerr(stdout);
  // Lines stay whole when workers share a pipe: one write for each line, instead of one whenever a buffer is full.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  streams().each([](auto& stream) { stream.look(); });
  observe::forward_to(forward_log);
}

namespace {

// A child of the worker, made by fork(), that came back out of the user's function: it is none.
[[gnu::hot]] void leave_if_copied(int code) noexcept {
  if (self != nullptr) return;
  flush_output();
  os::exit_now(code);
}

// Runs what gives the result, and makes known what became of it. The reference to a forced unwind is null: see
// thread_core::execute().
template <class Call>
[[noreturn]] [[gnu::hot]] __attribute__((no_sanitize("undefined"))) void finish_with(Call&& call) {
  try {
    const detail::message result = call();
    leave_if_copied(0);
    warn_of_lost_output();
    sync::leave();
    publish_value(result);
    os::exit_now(0);
  } catch (const abi::__forced_unwind&) {  // pthread_exit; swallowing it would abort
    flush_output();
    throw;
  } catch (...) {
    leave_if_copied(1);
    const std::exception_ptr exception = std::current_exception();
    warn_of_lost_output();
    sync::leave();
    publish_exception(exception);
    os::exit_now(1);
  }
}

}  // namespace

void run_body(std::span<const std::byte> body, int body_memfd, std::span<file_descriptor> handles) {
  finish_with([&] {
    std::vector<std::byte> far;
    if (body_memfd >= 0) {
      body = far = read_memfd(body_memfd);
      os::close(body_memfd);
    }
    const body_parts parts = read_body(body);
    take_name(parts.name);
    if (!parts.setup.empty()) set_up(parts.setup);
    return execute(parts.call, handles);
  });
}

void run_copy(void (*call)(void*, detail::message&), void* argument) {
  finish_with([&] {
    for (auto* function : start_functions()) function();
    detail::message result;
    call(argument, result);
    return result;
  });
}

void run_worker(worker_start& start) {
  become_worker(start);
  if (start.fresh_image) become_fresh_image(start);
  run_body(start.body, start.body_memfd, start.handles);
}

}  // namespace tandem::worker
