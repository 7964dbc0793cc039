#include <algorithm>
#include <cerrno>
#include <exception>
#include <stdexcept>
#include <vector>

#include <tandem/error.hpp>

#include "memory/segment.hpp"
#include "observe/log.hpp"
#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/session.hpp"
#include "transfer/exception_codec.hpp"
#include "worker/child_side.hpp"
#include "worker/fork_watch.hpp"
#include "worker/ledger.hpp"
#include "worker/protocol.hpp"
#include "worker/runtime.hpp"
#include "worker/server.hpp"

namespace tandem::worker {

namespace {

struct keeper {
  file_descriptor control;
  host_ties ties;
  file_descriptor children;  // the signalfd
  pid_t server = 0;
  struct watched_copy {
    os::known_process known;
    std::uint32_t process;  // its handle in the session page
  };
  std::vector<watched_copy> copies;  // children that the host made itself
};

// The handle of the keeper in the session page: a preload may use locks.
std::uint32_t own_process = 0;

// Descriptors of the program above 2 become /dev/null: whoever finds their numbers in copied memory does no harm with
// them, and no pipe or lock of the program is held open.
void cover_descriptors(const keeper& k) {
  const file_descriptor null(os::open_null());
  const std::vector<int> ours = {k.control.get(), k.ties.host_pidfd.get(), k.ties.lines->descriptor(), null.get(),
                                 sync::session_descriptor()};
  for (const int fd : os::open_descriptors()) {
    if (std::find(ours.begin(), ours.end(), fd) != ours.end()) continue;
    if (!null || os::duplicate_onto(null.get(), fd) < 0) os::close(fd);
  }
}

void say(const keeper& k, const keeper_message& message, std::span<const std::byte> rest = {},
         std::span<const int> fds = {}) {
  const int failed = os::send_now(k.control.get(), {bytes_of(message), rest}, fds);
  if (failed == -ETOOMANYREFS) os::throw_failed("sendmsg", -failed);
  // If it cannot be said, our end says it: the host waits for an answer.
  if (failed < 0) os::shut_down(k.control.get());
}

void say_failed(const keeper& k, const resource_exhausted& failed) {
  keeper_message message{keeper_word::failed};
  message.error = failed.code().value();
  set_text(message.operation, failed.operation());
  say(k, message);
}

// True if the preload is done, and nothing of it runs on.
bool preloaded(const keeper& k, const std::function<void()>& preload) {
  try {
    if (preload) {
      os::unblock_signals();
      preload();
      os::block_signals();
      flush_before_copy(false);  // what it printed is printed once
    }
    if (os::thread_count() > 1) {
      throw std::logic_error(
          "tandem::init: the preload function left threads running; the fork server must have one thread, so that no "
          "lock that another one holds is ever copied. Join them in the preload.");
    }
    return true;
  } catch (...) {
    os::block_signals();
    std::vector<std::byte> bytes;
    detail::encode_exception(bytes, std::current_exception());
    if (bytes.size() > most_exception_bytes) {
      bytes.clear();
      detail::encode_exception(
          bytes, std::make_exception_ptr(tandem::error("the preload function threw an exception that is too long")));
    }
    say(k, {keeper_word::preload_threw}, bytes);
    return false;
  }
}

void become_keeper(keeper& k) {
  os::set_role(os::role::keeper);
  own_process = sync::take_process(0);
  sync::be_process(own_process);
  count_own_fork();
  runtime::forget_connections();
  observe::forward_to(nullptr);
  on_log({});
  os::block_signals();
  os::lead_group();
  os::default_dispositions();
  k.ties.lines->keep_lines_only();
  cover_descriptors(k);
  prepare_child_side();
  rehearse();
  os::check(os::adopt_orphans(), "prctl(PR_SET_CHILD_SUBREAPER)");
  k.ties.keeper_pidfd = file_descriptor(static_cast<int>(os::check(os::pidfd_of(os::own_pid()), "pidfd_open")));
}

void make_server(keeper& k) {
  try {
    std::array<file_descriptor, 2> ends;
    os::check(os::socket_pair(ends), "socketpair");
    os::check(os::tell_sender(ends[1].get()), "setsockopt(SO_PASSCRED)");  // before the host can send
    k.ties.domain = sync::take_process(0);
    const pid_t pid = k.ties.pid_namespace
                          ? static_cast<pid_t>(os::check(os::fork_into_namespace(), namespace_operation))
                          : static_cast<pid_t>(os::check(os::fork_process(), "fork"));
    if (pid == 0) {
      ends[0] = {};
      k.control = {};
      k.children = {};
      k.copies.clear();
      run_server(std::move(ends[1]), std::move(k.ties));
    }
    k.server = pid;
    keeper_message message{keeper_word::server};
    message.pid = pid;
    const int fd = ends[0].get();
    say(k, message, {}, std::span(&fd, 1));
  } catch (const resource_exhausted& failed) {
    say_failed(k, failed);
  }
}

// The server's workers die with it, by PR_SET_PDEATHSIG; what they leave behind comes to us, and is ended here.
void end_what_is_left(keeper& k) {
  os::kill_all_children({});
  sync::domain_ended(k.ties.domain);
  sync::process_ended(k.ties.domain);
  k.ties.domain = 0;
}

void reap_children(keeper& k) {
  for (os::ended_child child = os::reap_any(false); child.pid > 0; child = os::reap_any(false)) {
    if (child.pid != k.server) continue;
    k.server = 0;
    end_what_is_left(k);
    return;
  }
}

// Tells of those that have ended, and forgets them.
void look_after_copies(keeper& k) {
  std::erase_if(k.copies, [](const keeper::watched_copy& c) {
    std::array<os::ready, 1> set{{{c.known.pidfd.get()}}};
    if (os::wait_ready(set, os::now) != 1) return false;
    sync::process_ended(c.process);
    return true;
  });
}

void watch(keeper& k, const keeper_message& said, os::message& got) {
  if (!got.descriptors.empty()) k.copies.push_back({{said.pid, std::move(got.descriptors[0])}, said.process});
}

// A copy tells of itself; one that was made as the host was killed may have done so just now.
void hear_of_the_last_copies(keeper& k) {
  std::array<std::byte, sizeof(keeper_message)> buffer;
  for (;;) {
    os::message told = os::receive_now(k.control.get(), buffer);
    if (told.size <= 0) return;
    keeper_message said;
    if (read_message(said, buffer) && said.word == keeper_word::watch) watch(k, said, told);
  }
}

// They are no children of ours, and whoever is below them neither.
void end_copies(keeper& k) {
  for (const keeper::watched_copy& c : k.copies) os::kill_tree(c.known);
}

// What the host says: a server, please; or, watch this one. False at its end.
bool serve_host(keeper& k) {
  std::array<std::byte, sizeof(keeper_message)> buffer;
  os::message asked = os::receive(k.control.get(), buffer);
  if (asked.size <= 0) return asked.size < 0;
  keeper_message said;
  if (!read_message(said, buffer)) return true;
  if (said.word == keeper_word::watch) {
    watch(k, said, asked);
    return true;
  }
  reap_children(k);
  if (k.server != 0) {  // its socket broke and it lives: it is of no use
    os::kill_now(k.server, 9);
    while (k.server != 0) {
      const os::ended_child child = os::reap_any(true);
      if (child.pid < 0 || child.pid == k.server) k.server = 0;
    }
    end_what_is_left(k);
  }
  make_server(k);
  return true;
}

}  // namespace

void run_keeper(file_descriptor control, file_descriptor host_pidfd, ledger& host_ledger, const init_options& options) {
  keeper k;
  try {
    k.control = std::move(control);
    k.ties.host_pidfd = std::move(host_pidfd);
    k.ties.lines = &host_ledger;
    k.ties.pid_namespace = options.pid_namespace;
    become_keeper(k);
    if (!preloaded(k, options.preload)) os::exit_now(0);
    os::default_dispositions();  // SIGCHLD ignored by a preload would have the kernel reap before we do
    k.children = file_descriptor(static_cast<int>(os::check(os::child_signals(), "signalfd")));
    say(k, {keeper_word::ready});
    for (;;) {
      std::vector<os::ready> set{{k.control.get()}, {k.ties.host_pidfd.get()}, {k.children.get()}};
      for (const keeper::watched_copy& c : k.copies) set.push_back({c.known.pidfd.get()});
      if (os::wait_ready(set) < 0) continue;
      look_after_copies(k);
      if (set[1].readable) break;
      if (set[2].readable) {
        os::drain(k.children.get());
        reap_children(k);
      }
      if (set[0].readable && !serve_host(k)) break;
    }
  } catch (const resource_exhausted& failed) {
    say_failed(k, failed);
  } catch (...) {  // no memory: the host sees our end
  }
  try {
    hear_of_the_last_copies(k);
  } catch (...) {  // no memory: those that are known are ended
  }
  end_copies(k);
  end_what_is_left(k);
  try {
    detail::remove_names_of_the_killed();
  } catch (...) {  // no memory: they stay until the next who asks for them
  }
  os::exit_now(0);
}

}  // namespace tandem::worker
