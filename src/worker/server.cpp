#include "worker/server.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/container/small_vector.hpp>

#include <tandem/error.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/session.hpp"
#include "worker/child_side.hpp"
#include "worker/error_taps.hpp"
#include "worker/ledger.hpp"
#include "worker/protocol.hpp"

namespace tandem::worker {

namespace {

struct worker_result {
  file_descriptor memfd;
  std::vector<file_descriptor> handles;
};

// One program that starts workers: the host, or a worker of it.
struct client {
  file_descriptor socket;
  file_descriptor ledger;  // none: the host's, whose descriptor its ledger object owns
  int ledger_fd = -1;
  std::byte* lines = nullptr;
  bool own_lines = false;
  file_descriptor pidfd;
  std::unordered_map<std::uint32_t, worker_result> results;  // of ended workers, by slot, until they are fetched
  std::unordered_map<std::uint32_t, std::string> errors;     // the ends of their standard error
  std::unordered_map<std::uint32_t, std::vector<file_descriptor>> calls;  // handles of calls that are not complete yet

  ending_line& line(std::uint32_t slot) const {
    // SAFETY: slot < slot_count was checked, and the mapping is sealed at its size.
    return *reinterpret_cast<ending_line*>(lines + slot * sizeof(ending_line));
  }
  client() = default;
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() {
    if (own_lines) os::unmap(lines, lines_bytes);
  }
};

struct clone {
  pid_t pid = 0;
  client* owner = nullptr;  // nullptr: nobody asks for its end any more
  std::uint32_t slot = 0;
  std::uint32_t process = 0;  // its handle in the session page
  worker_result result;
};

// A copy that a worker has made of itself: others who share locks with it learn of its end from us.
struct watched_copy {
  file_descriptor pidfd;
  std::uint32_t process = 0;
};

// The page of the worker that was started last; the next one often has the same.
struct mapped_page {
  int ledger_fd = -1;
  std::uint32_t slot = 0;
  slot_page* page = nullptr;
};

class server {
 public:
  server(file_descriptor host, host_ties ties);
  [[noreturn]] void run();

 private:
  void serve(client&);
  void answer(client&, const request&, std::span<const std::byte> rest, os::message&);
  void start(client&, const request&, std::span<const std::byte> rest, os::message&);
  [[gnu::hot]] [[gnu::noinline]] void clone_worker(client&, const request&, worker_start&);
  void keep_handles(client&, const request&, os::message&);
  std::vector<file_descriptor> take_handles(client&, std::uint32_t slot);
  void tell_errors(client&, const request&);
  void sync(client&, const request&);
  void forget_result(client&, std::uint32_t slot);
  void fetch(client&, const request&);
  void abandon(client&, const request&);
  void read_door();
  void renew_door();
  void connect_worker(os::message&);
  void watch(os::message&, std::uint32_t process);
  void look_after_copies();
  void reap();
  void drop(client&);
  slot_page* map_page(const client&, std::uint32_t slot);
  void forget_page();
  clone* find(pid_t);
  const std::vector<os::descriptor_range>& closed_in_workers_of(const client&);
  void become_keeper();
  [[noreturn]] void end_all();
  std::vector<int> own_descriptors() const;

  host_ties ties_;
  const pid_t pid_ = os::own_pid();
  const uid_t user_ = os::own_user();
  file_descriptor children_;
  std::array<file_descriptor, 2> door_;               // ours, the workers'
  std::vector<std::unique_ptr<client>> clients_;      // the host first
  boost::container::small_vector<clone, 8> workers_;  // by pid; the first few on a page that is written anyway
  mapped_page page_;
  std::vector<os::descriptor_range>
      closed_;  // what workers of closed_for_ must not have; out of date if that is nullptr
  const client* closed_for_ = nullptr;
  error_taps taps_;
  const int session_ = sync::session_descriptor();
  std::vector<watched_copy> copies_;
  std::array<std::byte, sizeof(request) + most_inline_bytes> buffer_;
};

server::server(file_descriptor host, host_ties ties) : ties_(std::move(ties)) {
  os::set_role(os::role::server);
  sync::be_process(ties_.domain);
  os::raise_descriptor_limit();
  children_ = file_descriptor(static_cast<int>(os::check(os::child_signals(), "signalfd")));
  os::check(os::socket_pair(door_), "socketpair");
  os::check(os::tell_sender(door_[0].get()), "setsockopt(SO_PASSCRED)");
  auto first = std::make_unique<client>();
  first->socket = std::move(host);
  first->ledger_fd = ties_.lines->descriptor();
  first->lines = ties_.lines->memory();
  os::keep_from_copies(first->lines, lines_bytes);  // no worker can write them
  clients_.push_back(std::move(first));
}

std::vector<int> server::own_descriptors() const {
  std::vector<int> ours = {children_.get(), door_[0].get(), ties_.lines->descriptor()};
  const auto add = [&](const file_descriptor& fd) {
    if (fd) ours.push_back(fd.get());
  };
  const auto add_result = [&](const worker_result& result) {
    add(result.memfd);
    std::for_each(result.handles.begin(), result.handles.end(), add);
  };
  for (const auto& c : clients_) {
    add(c->socket);
    add(c->ledger);
    for (const auto& [slot, result] : c->results) add_result(result);
    for (const auto& [slot, handles] : c->calls) std::for_each(handles.begin(), handles.end(), add);
  }
  for (const clone& w : workers_) add_result(w.result);
  taps_.each_descriptor(add);
  for (const watched_copy& c : copies_) add(c.pidfd);
  if (session_ >= 0) ours.push_back(session_);
  add(ties_.keeper_pidfd);
  return ours;
}

const std::vector<os::descriptor_range>& server::closed_in_workers_of(const client& owner) {
  if (closed_for_ == &owner) return closed_;
  std::vector<int> ours = own_descriptors();
  const bool of_host = &owner == clients_.front().get();
  if (!of_host) ours.push_back(ties_.host_pidfd.get());
  for (const auto& c : clients_) {
    if (c->pidfd && c.get() != &owner) ours.push_back(c->pidfd.get());
  }
  std::sort(ours.begin(), ours.end());
  closed_for_ = nullptr;
  closed_.clear();
  for (const int fd : ours) {
    if (!closed_.empty() && closed_.back().last + 1 == fd) {
      closed_.back().last = fd;
    } else {
      closed_.push_back({fd, fd});
    }
  }
  closed_for_ = &owner;
  return closed_;
}

clone* server::find(pid_t pid) {
  const auto found = std::lower_bound(workers_.begin(), workers_.end(), pid,
                                      [](const clone& c, pid_t wanted) { return c.pid < wanted; });
  return found != workers_.end() && found->pid == pid ? &*found : nullptr;
}

void server::forget_page() {
  os::unmap(page_.page, page_bytes);
  page_ = {};
}

slot_page* server::map_page(const client& c, std::uint32_t slot) {
  if (page_.page != nullptr && page_.ledger_fd == c.ledger_fd && page_.slot == slot) return page_.page;
  // SAFETY: a whole page of a sealed ledger.
  auto* mapped = static_cast<slot_page*>(os::map(c.ledger_fd, page_offset(slot), page_bytes, page_.page));
  if (mapped == nullptr) {
    const int error = errno;
    forget_page();
    errno = error;
    return nullptr;
  }
  page_ = {c.ledger_fd, slot, mapped};
  return mapped;
}

void send_reply(const client& c, reply r, std::span<const int> fds = {}, std::string_view text = {}) {
  // A client that cannot be answered must not wait: its socket says that it is served no more, to both of us.
  int failed = os::send_now(c.socket.get(), {bytes_of(r), std::as_bytes(std::span(text))}, fds);
  if (failed == -ETOOMANYREFS) {
    r.unsent = -failed;
    failed = os::send_now(c.socket.get(), {bytes_of(r)});
  }
  if (failed < 0) os::shut_down(c.socket.get());
}

void send_failure(const client& c, std::string_view operation, int error) {
  reply r;
  r.error = error;
  set_text(r.operation, operation);
  send_reply(c, r);
}

void append(std::vector<file_descriptor>& to, std::span<file_descriptor> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void server::keep_handles(client& c, const request& asked, os::message& got) {
  if (asked.slot >= slot_count) return send_failure(c, "fork server: bad request", EINVAL);
  if (got.descriptors_lost) {
    c.calls.erase(asked.slot);
    return send_failure(c, "recvmsg", EMFILE);
  }
  closed_for_ = nullptr;
  std::vector<file_descriptor>& handles = c.calls[asked.slot];
  if ((asked.flags & bit(start_flag::first_handles)) != 0) handles.clear();  // of a start that never came
  append(handles, got.descriptors);
  send_reply(c, {});
}

// Of a start that comes now, or never.
std::vector<file_descriptor> server::take_handles(client& c, std::uint32_t slot) {
  const auto found = c.calls.find(slot);
  if (found == c.calls.end()) return {};
  std::vector<file_descriptor> handles = std::move(found->second);
  c.calls.erase(found);
  closed_for_ = nullptr;
  return handles;
}

void server::start(client& c, const request& asked, std::span<const std::byte> rest, os::message& got) {
  const auto wants = [&asked](start_flag f) { return (asked.flags & bit(f)) != 0; };
  worker_start begin;
  begin.handles = take_handles(c, asked.slot);
  if (asked.slot >= slot_count || (wants(start_flag::fresh_image) && !wants(start_flag::body_in_memfd)))
    return send_failure(c, "fork server: bad request", EINVAL);
  // Whoever has given up rights must not get them back from us.
  if (got.sender_user != user_) return send_failure(c, "start: the user of the program has changed since init", EPERM);
  forget_result(c, asked.slot);
  c.errors.erase(asked.slot);
  const std::size_t before_handles = wants(start_flag::body_in_memfd) ? 1 : 0;
  if (got.descriptors.size() < before_handles) return send_failure(c, "recvmsg", EMFILE);
  if (got.descriptors.size() - before_handles == asked.handles) begin.handles.clear();  // those were of another start
  append(begin.handles, std::span(got.descriptors).subspan(before_handles));
  if (got.descriptors_lost || begin.handles.size() != asked.handles) return send_failure(c, "recvmsg", EMFILE);
  begin.self.page = map_page(c, asked.slot);
  if (begin.self.page == nullptr) return send_failure(c, "mmap", errno);
  begin.body = rest;
  begin.body_memfd = before_handles != 0 ? got.descriptors[0].get() : -1;
  file_descriptor ledger;
  file_descriptor session;
  if (wants(start_flag::fresh_image)) {
    ledger = file_descriptor(os::duplicate(c.ledger_fd));
    if (!ledger) return send_failure(c, "fcntl(F_DUPFD_CLOEXEC)", -ledger.get());
    begin.fresh_image = true;
    begin.slot = asked.slot;
    begin.ledger = ledger.get();
    if (session_ >= 0) {
      session = file_descriptor(os::duplicate(session_));
      if (!session) return send_failure(c, "fcntl(F_DUPFD_CLOEXEC)", -session.get());
    }
    begin.session = session.get();
  }
  std::array<file_descriptor, 2> error_pipe;
  if (wants(start_flag::capture_stderr)) {
    if (const int failed = os::pipe_pair(error_pipe)) return send_failure(c, "pipe2", -failed);
    closed_for_ = nullptr;
    begin.standard_error = error_pipe[1].get();
    taps_.add(std::move(error_pipe[0]));
  }
  clone_worker(c, asked, begin);
}

void server::clone_worker(client& c, const request& asked, worker_start& begin) {
  // Everything that can fail is done before the clone.
  begin.self.door = door_[1].get();
  begin.server = pid_;
  begin.self.parent_pidfd = c.pidfd ? c.pidfd.get() : ties_.host_pidfd.get();
  begin.to_close = closed_in_workers_of(c);
  begin.self.process = sync::take_process(ties_.domain);
  if (workers_.size() == workers_.capacity()) workers_.reserve(2 * workers_.size() + 16);

  const pid_t pid = os::fork_process();
  if (pid == 0) run_worker(begin);
  if (pid < 0) {
    sync::process_ended(begin.self.process);
    return send_failure(c, "fork", -pid);
  }
  if (begin.standard_error >= 0) taps_.name_last(pid);
  const auto after = std::find_if(workers_.rbegin(), workers_.rend(), [pid](const clone& w) { return w.pid < pid; });
  clone& made = *workers_.insert(after.base(), clone{pid, &c, asked.slot, begin.self.process, {}});
  const file_descriptor pidfd(os::pidfd_of(pid));
  if (pidfd.get() < 0) {
    os::kill_now(pid, 9);  // ours and not reaped, so the number cannot be another's
    made.owner = nullptr;
    return send_failure(c, "pidfd_open", -pidfd.get());
  }
  c.line(asked.slot).process = begin.self.process;
  reply r;
  r.pid = pid;
  const int sent = pidfd.get();
  send_reply(c, r, std::span(&sent, 1));
}

// Of a worker of ours that is not reaped, so the number cannot be another's.
void kill_tree(pid_t pid) {
  os::kill_now(pid, 19);  // SIGSTOP: it makes no more of them
  os::kill_descendants_of(pid);
  os::kill_now(pid, 9);
}

void server::fetch(client& c, const request& asked) {
  read_door();
  reap();
  const auto found = c.results.find(asked.slot);
  if (found == c.results.end()) return send_failure(c, "recvmsg", EMFILE);  // it came without its descriptor
  worker_result& result = found->second;
  std::vector<int> now;
  if (result.memfd) now.push_back(result.memfd.get());
  const std::size_t count = std::min(result.handles.size(), most_handles_at_once);
  for (std::size_t i = 0; i < count; ++i) now.push_back(result.handles[i].get());
  reply r;
  r.more = static_cast<std::uint32_t>(result.handles.size() - count);
  send_reply(c, r, now);
  result.memfd = {};
  result.handles.erase(result.handles.begin(), result.handles.begin() + static_cast<std::ptrdiff_t>(count));
  if (r.more == 0) c.results.erase(found);
  closed_for_ = nullptr;
}

// Of a worker that died, or never began. What it had sent before that is no result, nor what came for it a call.
void server::sync(client& c, const request& asked) {
  reap();
  take_handles(c, asked.slot);
  forget_result(c, asked.slot);
  send_reply(c, {});
}

void server::forget_result(client& c, std::uint32_t slot) {
  if (c.results.erase(slot) != 0) closed_for_ = nullptr;
}

void server::tell_errors(client& c, const request& asked) {
  reap();
  const auto found = c.errors.find(asked.slot);
  if (found == c.errors.end()) return send_reply(c, {});
  send_reply(c, {}, {}, found->second);
  c.errors.erase(found);
}

void server::abandon(client& c, const request& asked) {
  for (const clone& w : workers_) {
    if (w.owner == &c && w.slot == asked.slot) kill_tree(w.pid);
  }
  send_reply(c, {});
}

void server::answer(client& c, const request& asked, std::span<const std::byte> rest, os::message& got) {
  switch (asked.kind) {
    case request_kind::start: return start(c, asked, rest, got);
    case request_kind::handles: return keep_handles(c, asked, got);
    case request_kind::sync: return sync(c, asked);
    case request_kind::fetch: return fetch(c, asked);
    case request_kind::errors: return tell_errors(c, asked);
    case request_kind::abandon: return abandon(c, asked);
  }
  send_failure(c, "fork server: bad request", EINVAL);
}

void server::serve(client& c) {
  os::message got = os::receive(c.socket.get(), buffer_);
  if (got.size == 0 || got.size == -ECONNRESET) return drop(c);
  if (got.size == -EMSGSIZE) return send_failure(c, "fork server: bad request", EMSGSIZE);
  if (got.size < 0) return;  // no memory: the request is still there
  const std::span<const std::byte> bytes(buffer_.data(), static_cast<std::size_t>(got.size));
  request asked;
  if (!read_message(asked, bytes)) return send_failure(c, "fork server: bad request", EINVAL);
  try {
    answer(c, asked, bytes.subspan(sizeof asked), got);
  } catch (const std::bad_alloc&) {
    send_failure(c, "malloc", ENOMEM);
  }
}

void server::connect_worker(os::message& got) {
  if (got.descriptors.size() != 2 || find(got.sender) == nullptr)
    return;  // its end of the socket closes with this message
  auto c = std::make_unique<client>();
  c->socket = std::move(got.descriptors[0]);
  c->ledger = std::move(got.descriptors[1]);
  c->ledger_fd = c->ledger.get();
  c->pidfd = file_descriptor(os::pidfd_of(got.sender));
  if (!c->pidfd || !os::sealed_at(c->ledger_fd, ledger_bytes)) return;
  c->lines = static_cast<std::byte*>(os::map(c->ledger_fd, 0, lines_bytes));
  if (c->lines == nullptr) return;
  c->own_lines = true;
  os::keep_from_copies(c->lines, lines_bytes);
  closed_for_ = nullptr;
  clients_.push_back(std::move(c));
}

// What could not be received whole is none: the fetch says so.
void take_result(door_kind kind, os::message& got, worker_result& result) {
  constexpr std::size_t most_handles = 4096;  // one worker does not take all descriptors that the others need
  std::span<file_descriptor> handles = got.descriptors;
  if (got.descriptors_lost || (kind == door_kind::result && handles.empty()) ||
      result.handles.size() + handles.size() > most_handles) {
    result = {};
    return;
  }
  try {
    append(result.handles, kind == door_kind::result ? handles.subspan(1) : handles);
    if (kind == door_kind::result) result.memfd = std::move(handles[0]);
  } catch (const std::bad_alloc&) {
    result = {};
  }
}

// A worker has shut it down, for all that have it: those that come get another.
void server::renew_door() {
  std::array<file_descriptor, 2> ends;
  if (os::socket_pair(ends) < 0 || os::tell_sender(ends[0].get()) < 0)
    os::exit_now(1);  // the keeper makes another server
  door_ = std::move(ends);
  closed_for_ = nullptr;
}

// All that was there when it began: no more than that fits into the socket at once. Who sends faster than this reads
// holds up nobody else.
void server::read_door() {
  constexpr int most_messages =
      512;  // of eight bytes, with what the kernel adds, twice as many as the usual buffer takes
  constexpr int most_failures = 16;  // of a kernel that is short of memory
  for (int messages = 0, failures = 0; messages < most_messages && failures < most_failures; ++messages) {
    std::array<std::byte, sizeof(door_message)> bytes;
    os::message got = os::receive_now(door_[0].get(), bytes);
    if (got.size == -EAGAIN) return;
    if (got.size == 0) return renew_door();
    if (got.size < 0) {
      ++failures;
      continue;
    }
    door_message said;
    if (!read_message(said, std::span(bytes.data(), static_cast<std::size_t>(got.size)))) continue;
    if (said.kind == door_kind::connect) {
      connect_worker(got);
    } else if (said.kind == door_kind::watch) {
      watch(got, said.process);
    } else if (clone* sender = find(got.sender)) {
      take_result(said.kind, got, sender->result);
      closed_for_ = nullptr;
    }
  }
}

void server::watch(os::message& got, std::uint32_t process) {
  if (got.descriptors.size() != 1 || find(got.sender) == nullptr) return;
  closed_for_ = nullptr;
  copies_.push_back({std::move(got.descriptors[0]), process});
}

void server::look_after_copies() {
  std::erase_if(copies_, [this](const watched_copy& c) {
    std::array<os::ready, 1> set{{{c.pidfd.get()}}};
    if (os::wait_ready(set, os::now) != 1) return false;
    sync::process_ended(c.process);
    closed_for_ = nullptr;
    return true;
  });
}

void server::reap() {
  os::drain(children_.get());
  for (os::ended_child child = os::reap_any(false); child.pid > 0; child = os::reap_any(false)) {
    if (const clone* dead = find(child.pid))
      sync::process_ended(dead->process);  // first: others may wait for its locks
    read_door();  // whatever this worker sent is there by now, and belongs to it for as long as it is listed
    clone* found = find(child.pid);
    if (found == nullptr) continue;  // an orphan, after the keeper's death
    clone ended = std::move(*found);
    workers_.erase(workers_.begin() + (found - workers_.data()));
    std::string errors = taps_.empty() ? std::string() : taps_.end_of(child.pid);
    if (ended.owner == nullptr) continue;
    if (ended.result.memfd) ended.owner->results[ended.slot] = std::move(ended.result);
    if (!errors.empty()) ended.owner->errors[ended.slot] = std::move(errors);
    ending_line& line = ended.owner->line(ended.slot);
    line.value = child.value;
    line.cpu_ns = child.cpu_ns;
    line.peak_bytes = child.peak_bytes;
    line.reaped.store(1, std::memory_order_release);
  }
}

// A program that is gone takes its workers with it.
void server::drop(client& gone) {
  if (&gone == clients_.front().get()) end_all();
  for (clone& w : workers_) {
    if (w.owner != &gone) continue;
    kill_tree(w.pid);
    w.owner = nullptr;
  }
  forget_page();
  closed_for_ = nullptr;
  std::erase_if(clients_, [&](const auto& c) { return c.get() == &gone; });
}

// The keeper was killed: from now on orphans come to us.
void server::become_keeper() {
  os::adopt_orphans();
  ties_.keeper_pidfd = {};
  closed_for_ = nullptr;
}

void server::end_all() {
  if (pid_ == 1) os::exit_now(0);  // of its own PID namespace: the kernel ends all that is in it
  os::adopt_orphans();             // what our workers leave behind would miss a keeper that dies at the same time
  std::vector<pid_t> known;
  for (const clone& w : workers_) known.push_back(w.pid);
  os::kill_all_children(known);
  sync::domain_ended(ties_.domain);
  os::exit_now(0);
}

void server::run() {
  boost::container::small_vector<os::ready, 8> set;
  boost::container::small_vector<client*, 4> asking;
  for (;;) {
    set.assign(std::initializer_list<os::ready>{
        {children_.get()}, {door_[0].get()}, {ties_.host_pidfd.get()}, {ties_.keeper_pidfd.get()}});
    const std::size_t fixed = set.size();
    for (const auto& c : clients_) set.push_back({c->socket.get()});
    const std::size_t tapped = set.size();
    for (const watched_copy& c : copies_) set.push_back({c.pidfd.get()});
    taps_.add_to(set);
    if (os::wait_ready(set) < 0) continue;
    if (set[2].readable) end_all();
    if (set[3].readable && ties_.keeper_pidfd) become_keeper();
    asking.clear();
    for (std::size_t i = fixed; i < tapped; ++i) {
      if (set[i].readable) asking.push_back(clients_[i - fixed].get());
    }
    if (set[1].readable) read_door();
    if (set[0].readable) reap();
    if (!copies_.empty()) look_after_copies();
    if (!taps_.empty()) {
      taps_.pass_on();
      closed_for_ = nullptr;
    }
    for (client* c : asking) serve(*c);
  }
}

[[noreturn]] [[gnu::noinline]] void serve_from_here(file_descriptor host, host_ties ties) {
  server(std::move(host), std::move(ties)).run();
}

}  // namespace

void run_server(file_descriptor host, host_ties ties) {
  // The server writes to its stack between any two clones, and each clone to its copy of it: each page costs a fault in
  // both. So a page ends soon after the beginning of the server's buffer, which is its last member: what stands below, the
  // frames included, is all on that page, and the rest of the buffer is written for large calls only.
  constexpr std::size_t above = most_inline_bytes - 256;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  void* volatile const skipped = __builtin_alloca((here - above) % page_bytes);
  static_cast<void>(skipped);
  try {
    serve_from_here(std::move(host), std::move(ties));
  } catch (...) {  // no descriptor or no memory, before the first request: the host sees our end, and the keeper makes
                   // another
    os::exit_now(1);
  }
}

}  // namespace tandem::worker
