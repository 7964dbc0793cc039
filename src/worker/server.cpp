#include "worker/server.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <tandem/error.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "worker/child_side.hpp"
#include "worker/ledger.hpp"
#include "worker/protocol.hpp"

namespace tandem::worker {

namespace {

// One program that starts workers: the host, or a worker of it.
struct client {
  file_descriptor socket;
  file_descriptor ledger;  // none: the host's, whose descriptor its ledger object owns
  int ledger_fd = -1;
  std::byte* lines = nullptr;
  bool own_lines = false;
  file_descriptor pidfd;
  std::unordered_map<std::uint32_t, file_descriptor> results;  // of ended workers, by slot, until they are fetched

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
  client* owner = nullptr;  // nullptr: it has ended
  std::uint32_t slot = 0;
  file_descriptor result;
};

class server {
 public:
  server(file_descriptor host, host_ties ties);
  [[noreturn]] void run();

 private:
  void serve(client&);
  void answer(client&, const request&, std::span<const std::byte> rest, os::message&);
  void start(client&, const request&, std::span<const std::byte> rest, os::message&);
  void clone_worker(client&, const request&, slot_page&, std::span<const std::byte> rest, int call_memfd);
  void fetch(client&, const request&);
  void abandon(client&, const request&);
  void read_door();
  void connect_worker(os::message&);
  void reap();
  void drop(client&);
  void become_keeper();
  [[noreturn]] void end_all();
  std::vector<int> own_descriptors() const;

  host_ties ties_;
  file_descriptor self_pidfd_;
  file_descriptor children_;
  std::array<file_descriptor, 2> door_;           // ours, the workers'
  std::vector<std::unique_ptr<client>> clients_;  // the host first
  std::unordered_map<pid_t, clone> workers_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(buffer_bytes);
};

server::server(file_descriptor host, host_ties ties) : ties_(std::move(ties)) {
  os::set_role(os::role::server);
  os::raise_descriptor_limit();
  self_pidfd_ = file_descriptor(static_cast<int>(os::check(os::pidfd_of(os::own_pid()), "pidfd_open")));
  children_ = file_descriptor(static_cast<int>(os::check(os::child_signals(), "signalfd")));
  os::check(os::socket_pair(door_), "socketpair");
  os::check(os::tell_sender(door_[0].get()), "setsockopt(SO_PASSCRED)");
  auto first = std::make_unique<client>();
  first->socket = std::move(host);
  first->ledger_fd = ties_.lines->descriptor();
  first->lines = ties_.lines->memory();
  clients_.push_back(std::move(first));
}

std::vector<int> server::own_descriptors() const {
  std::vector<int> ours = {self_pidfd_.get(), children_.get(), door_[0].get(), ties_.keeper_pidfd.get(),
                           ties_.lines->descriptor()};
  const auto add = [&](const file_descriptor& fd) {
    if (fd) ours.push_back(fd.get());
  };
  for (const auto& c : clients_) {
    add(c->socket);
    add(c->ledger);
    for (const auto& [slot, result] : c->results) add(result);
  }
  for (const auto& [pid, w] : workers_) add(w.result);
  return ours;
}

void send_reply(const client& c, const reply& r, int fd = -1) {
  // A client that cannot be answered must not wait: its socket says that it is served no more, to both of us.
  if (os::send_now(c.socket.get(), {bytes_of(r)}, fd < 0 ? std::span<const int>() : std::span(&fd, 1)) < 0) {
    os::shut_down(c.socket.get());
  }
}

void send_failure(const client& c, std::string_view operation, int error) {
  reply r;
  r.error = error;
  set_text(r.operation, operation);
  send_reply(c, r);
}

void server::start(client& c, const request& asked, std::span<const std::byte> rest, os::message& got) {
  if (asked.slot >= slot_count || asked.name_bytes > most_name_bytes || asked.name_bytes > rest.size()) {
    return send_failure(c, "fork server: bad request", EINVAL);
  }
  void* page = os::map(c.ledger_fd, page_offset(asked.slot), page_bytes);
  if (page == nullptr) return send_failure(c, "mmap", errno);
  if (asked.call_in_memfd != 0 && got.descriptor_count == 0) {
    os::unmap(page, page_bytes);
    return send_failure(c, "recvmsg", EMFILE);
  }
  // SAFETY: a whole page of a sealed ledger.
  clone_worker(c, asked, *static_cast<slot_page*>(page), rest,
               asked.call_in_memfd != 0 ? got.descriptors[0].get() : -1);
  os::unmap(page, page_bytes);
}

void server::clone_worker(client& c, const request& asked, slot_page& page, std::span<const std::byte> rest,
                          int call_memfd) {
  // Everything that can fail is done before the clone.
  std::vector<int> to_close = own_descriptors();
  worker_start begin;
  begin.self.page = &page;
  begin.self.name.assign(reinterpret_cast<const char*>(rest.data()), asked.name_bytes);
  begin.call = rest.subspan(asked.name_bytes);
  begin.call_memfd = call_memfd;
  begin.self.door = door_[1].get();
  begin.server_pidfd = self_pidfd_.get();
  const bool host_asks = &c == clients_.front().get();
  begin.self.parent_pidfd = host_asks ? ties_.host_pidfd.get() : c.pidfd.get();
  for (const auto& other : clients_) {
    if (other->pidfd && other->pidfd.get() != begin.self.parent_pidfd) to_close.push_back(other->pidfd.get());
  }
  if (!host_asks) to_close.push_back(ties_.host_pidfd.get());
  begin.to_close = to_close;
  workers_.reserve(workers_.size() + 1);

  const pid_t pid = os::fork_process();
  if (pid == 0) run_worker(begin);
  if (pid < 0) return send_failure(c, "fork", -pid);
  const file_descriptor pidfd(os::pidfd_of(pid));
  clone& made = workers_[pid];
  made.owner = &c;
  made.slot = asked.slot;
  if (pidfd.get() < 0) {
    os::kill_now(pid, 9);  // ours and not reaped, so the number cannot be another's
    made.owner = nullptr;
    return send_failure(c, "pidfd_open", -pidfd.get());
  }
  reply r;
  r.pid = pid;
  send_reply(c, r, pidfd.get());
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
  send_reply(c, {}, found->second.get());
  c.results.erase(found);
}

void server::abandon(client& c, const request& asked) {
  for (auto& [pid, w] : workers_) {
    if (w.owner == &c && w.slot == asked.slot) {
      kill_tree(pid);
    }
  }
  send_reply(c, {});
}

void server::answer(client& c, const request& asked, std::span<const std::byte> rest, os::message& got) {
  switch (asked.kind) {
    case request_kind::start: return start(c, asked, rest, got);
    case request_kind::sync: reap(); return send_reply(c, {});
    case request_kind::fetch: return fetch(c, asked);
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
  const auto found = workers_.find(got.sender);
  if (got.descriptor_count != 2 || found == workers_.end()) return;  // its end of the socket closes with this message
  auto c = std::make_unique<client>();
  c->socket = std::move(got.descriptors[0]);
  c->ledger = std::move(got.descriptors[1]);
  c->ledger_fd = c->ledger.get();
  c->pidfd = file_descriptor(os::pidfd_of(got.sender));
  if (!c->pidfd || !os::sealed_at(c->ledger_fd, ledger_bytes)) return;
  c->lines = static_cast<std::byte*>(os::map(c->ledger_fd, 0, lines_bytes));
  if (c->lines == nullptr) return;
  c->own_lines = true;
  clients_.push_back(std::move(c));
}

void server::read_door() {
  constexpr int most_failures = 16;  // of a kernel that is short of memory
  for (int failures = 0; failures < most_failures;) {
    std::array<os::ready, 1> set{{{door_[0].get()}}};
    const int waiting = os::wait_ready(set, os::now);
    if (waiting == 0) return;
    std::array<std::byte, sizeof(door_message)> bytes;
    os::message got;
    if (waiting > 0) got = os::receive(door_[0].get(), bytes);
    if (waiting < 0 || got.size < 0) {
      ++failures;
      continue;
    }
    door_message said;
    if (!read_message(said, std::span(bytes.data(), static_cast<std::size_t>(got.size)))) continue;
    if (said.kind == door_kind::connect) {
      connect_worker(got);
    } else if (const auto found = workers_.find(got.sender); found != workers_.end() && got.descriptor_count == 1) {
      found->second.result = std::move(got.descriptors[0]);
    }
  }
}

void server::reap() {
  os::drain(children_.get());
  // A result is sent before its worker ends, so it is read before its worker is reaped.
  read_door();
  for (os::ended_child child = os::reap_any(false); child.pid > 0; child = os::reap_any(false)) {
    const auto found = workers_.find(child.pid);
    if (found == workers_.end()) continue;  // an orphan, after the keeper's death
    clone ended = std::move(found->second);
    workers_.erase(found);
    if (ended.owner == nullptr) continue;
    if (ended.result) ended.owner->results[ended.slot] = std::move(ended.result);
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
  for (auto& [pid, w] : workers_) {
    if (w.owner != &gone) continue;
    kill_tree(pid);
    w.owner = nullptr;
  }
  std::erase_if(clients_, [&](const auto& c) { return c.get() == &gone; });
}

// The keeper was killed: from now on orphans come to us.
void server::become_keeper() {
  os::adopt_orphans();
  ties_.keeper_pidfd = {};
}

void server::end_all() {
  os::adopt_orphans();  // what our workers leave behind would miss a keeper that dies at the same time
  std::vector<pid_t> known;
  for (const auto& [pid, w] : workers_) known.push_back(pid);
  os::kill_all_children(known);
  os::exit_now(0);
}

void server::run() {
  std::vector<os::ready> set;
  for (;;) {
    set.assign({{children_.get()}, {door_[0].get()}, {ties_.host_pidfd.get()}, {ties_.keeper_pidfd.get()}});
    const std::size_t fixed = set.size();
    for (const auto& c : clients_) set.push_back({c->socket.get()});
    if (os::wait_ready(set) < 0) continue;
    if (set[2].readable) end_all();
    if (set[3].readable && ties_.keeper_pidfd) become_keeper();
    std::vector<client*> asking;
    for (std::size_t i = fixed; i < set.size(); ++i) {
      if (set[i].readable) asking.push_back(clients_[i - fixed].get());
    }
    if (set[0].readable || set[1].readable) reap();
    for (client* c : asking) serve(*c);
  }
}

}  // namespace

void run_server(file_descriptor host, host_ties ties) {
  try {
    server(std::move(host), std::move(ties)).run();
  } catch (...) {  // no descriptor or no memory, before the first request: the host sees our end, and the keeper makes
                   // another
    os::exit_now(1);
  }
}

}  // namespace tandem::worker
