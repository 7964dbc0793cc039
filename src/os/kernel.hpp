#pragma once
// The kernel on one page: one thin function for each service that tandem uses. Unless its line says otherwise, a
// function returns what the system call returns, or minus errno; it never throws; EINTR is dealt with inside.
// `injected()` (faults.hpp) can make each of them fail, but those that close or end something.
//
// What each worker runs before and after the user's function is marked hot, so that the linker lays it side by side, and
// calls the kernel through system_call(): a fresh clone has no page of code mapped, and each further one that it touches
// costs a fault, which is a hundredth of the whole start.
#include <pthread.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tandem/deadline.hpp>
#include <tandem/file_descriptor.hpp>

namespace tandem::os {

/// Throws resource_exhausted that names `operation`, for a `result` below zero; else gives the result. Where the kernel
/// has no such call, or a filter denies it: unsupported.
long check(long result, const char* operation);
[[noreturn]] void throw_failed(const char* operation, int error, const std::string& advice = {});
/// Throws unsupported, with what would help, if that errno of that operation says that the kernel cannot do it at all.
void throw_if_missing(std::string_view operation, int error);
/// The same for all that tandem cannot do without, and that would fail too late.
void require_kernel();

constexpr clock::time_point never = clock::time_point::max();
constexpr clock::time_point now{};

// ---- descriptors --------------------------------------------------------------------------------------------------
/// In a program whose standard input, output or error is closed, a new descriptor gets one of their numbers, and what
/// is printed would go there: such a one is moved up. All functions here that make descriptors do so.
int clear_of_standard(int fd) noexcept;
int duplicate(int fd) noexcept;                 // close-on-exec
int duplicate_onto(int from, int to) noexcept;  // close-on-exec; `to` is replaced
void replace_standard_error(int fd) noexcept;   // `fd` stays
int close_on_exec(int fd, bool) noexcept;       // whether it is closed there
int open_null() noexcept;                       // /dev/null, read and write, close-on-exec
void close(int fd) noexcept;                    // never fails for the caller
struct descriptor_range {
  int first = 0;
  int last = 0;
};
[[gnu::hot]] void close_all(std::span<const descriptor_range>) noexcept;
std::vector<int> open_descriptors();                    // those above 2; slow without /proc
void raise_descriptor_limit() noexcept;                 // soft limit to the hard one; remembers the old
[[gnu::hot]] void restore_descriptor_limit() noexcept;  // as it was before that

int make_event() noexcept;                                  // an eventfd; readable from the first signal on
void signal_event(int event) noexcept;                      // also from a signal handler
int make_timer() noexcept;                                  // a timerfd of steady_clock; readable once it is due
void set_timer(int timer, clock::time_point due) noexcept;  // instead of the time before
int make_poll() noexcept;                                   // epoll
int poll_add(int poll, int fd) noexcept;
void poll_remove(int poll, int fd) noexcept;
int poll_wait(int poll) noexcept;  // sleeps until one of them is readable, and gives that
int poll_now(int poll) noexcept;   // one that is readable; -EAGAIN if none is
struct ready {
  int fd = -1;
  bool readable = false;     // set by wait_ready: also at end of file and for errors
  bool for_writing = false;  // wait until it can be written instead
  bool invalid = false;      // set by wait_ready: it is not open
};
/// Waits until one of them is readable, closed or broken. The number that are; 0 at the deadline. One that is `now` reads
/// no clock.
int wait_ready(std::span<ready>, clock::time_point deadline = never) noexcept;

// ---- memory -------------------------------------------------------------------------------------------------------
int anonymous_file(const char* name, std::size_t bytes) noexcept;  // memfd; bytes > 0: sized, and sealed at that size
bool sealed_at(int fd, std::size_t bytes) noexcept;                // it is a memfd of that size that cannot be resized
int huge_file(const char* name) noexcept;        // memfd of huge pages; fails where the machine has none
int resize(int fd, std::size_t bytes) noexcept;  // -EFBIG past RLIMIT_FSIZE, and no signal
enum class more_seals { none, may_come };
int keep_size(int fd, more_seals) noexcept;  // seals it: a peer that shrinks it would be our SIGBUS
int keep_contents(int fd) noexcept;          // seals it: no new way to write, for anybody; maps that are stay
bool size_is_kept(int fd) noexcept;          // false also for what is no memfd
bool contents_are_kept(int fd) noexcept;
std::size_t block_bytes(int fd) noexcept;  // of a file of huge pages: one page
/// Takes the memory now, so that no access is a SIGBUS for the lack of it. In pieces: a signal that comes makes the kernel
/// begin anew.
int reserve(int fd, std::size_t offset, std::size_t bytes) noexcept;
/// Memory with a name: a file in /dev/shm, which is made unless it is there. -EACCES: it is another user's.
int open_named(const char* name) noexcept;
bool is_named(int fd, const char* name) noexcept;  // it is what has that name now
void remove_name(const char* name) noexcept;
int lock_shared(int fd) noexcept;  // flock(2); waits
bool lock_alone(int fd) noexcept;  // nobody else has a lock; if not, its own is lost
bool try_lock_shared(int fd) noexcept;
void unlock(int fd) noexcept;     // of all descriptors of the same opening
int open_again(int fd) noexcept;  // the same file, to read and write, with locks of its own
/// What this machine, and the control groups of this process, could still give; an estimate.
std::size_t available_memory(const std::string& proc_self = "/proc/self", const std::string& root = "");
/// Shared, read and write; nullptr with errno set. `instead_of`: replaces what is mapped there, if it can.
void* map(int fd, std::size_t offset, std::size_t bytes, void* instead_of = nullptr) noexcept;
void* map_read_only(int fd, std::size_t bytes) noexcept;  // shared; mprotect cannot make it writable
void unmap(void*, std::size_t bytes) noexcept;
/// Whoever is about to touch all of it pays less: once for all of its pages, or, of 4 MiB and more, once for each 2 MiB,
/// where the system has huge pages.
void prepare_to_fill(void*, std::size_t bytes) noexcept;
void touch_as_huge(void*, std::size_t bytes) noexcept;  // with transparent huge pages where there are; never fails
int random_bytes(std::span<std::byte>) noexcept;
[[gnu::hot]] void keep_from_copies(void*, std::size_t bytes) noexcept;  // a child made by fork() does not have it
long read_some(int fd, std::span<std::byte>) noexcept;                  // 0 at the end
long write_some(int fd, std::span<const std::byte>) noexcept;           // SIGPIPE is not kept away
int write_at(int fd, std::span<const std::byte>, std::size_t offset) noexcept;  // all, or an error
int read_at(int fd, std::span<std::byte>, std::size_t offset) noexcept;         // all, or an error; ENODATA at the end
long size_of(int fd) noexcept;
long stored_bytes(int fd) noexcept;  // what of it takes memory

// ---- sockets ------------------------------------------------------------------------------------------------------
/// A pipe: reading end, writing end.
int pipe_pair(std::array<file_descriptor, 2>& ends) noexcept;
int socket_pair(std::array<file_descriptor, 2>& ends) noexcept;  // unix seqpacket: messages, whole or not at all
int stream_pair(std::array<file_descriptor, 2>& ends) noexcept;  // unix stream: bytes
bool is_socket(int fd) noexcept;
int tell_sender(int fd) noexcept;              // from now on receive() knows who sent
constexpr std::size_t most_descriptors = 253;  // in one message: the kernel's SCM_MAX_FD

struct message {
  long size = 0;  // bytes received; 0: end of file; below zero: minus errno
  std::vector<file_descriptor> descriptors = {};
  bool descriptors_lost = false;  // some of them: the descriptor table was full, or memory
  bool told_sender = false;       // after tell_sender(): of each message, also an empty one, and not of the end
  pid_t sender = 0;
  uid_t sender_user = 0;
};
/// Sends one message, whole. -EPIPE if the peer is gone; no SIGPIPE. -ETOOMANYREFS: this user has as many descriptors on
/// their way through sockets as RLIMIT_NOFILE allows, and that did not fall within 32 ms.
int send(int fd, std::initializer_list<std::span<const std::byte>> parts,
         std::span<const int> descriptors = {}) noexcept;
message receive(int fd, std::span<std::byte> buffer) noexcept;
message receive_now(int fd, std::span<std::byte> buffer) noexcept;  // -EAGAIN if there is none
/// As receive() and receive_now(), into at most four parts, one after the other.
message receive_parts(int fd, std::initializer_list<std::span<std::byte>> parts) noexcept;
message receive_parts_now(int fd, std::initializer_list<std::span<std::byte>> parts) noexcept;
/// The beginning of the next message, which stays: how many bytes it has in all; 0 at the end; minus errno.
long peek(int fd, std::span<std::byte> beginning) noexcept;
long peek_now(int fd, std::span<std::byte> beginning) noexcept;  // -EAGAIN if there is none
/// Closes what a peer has sent and nobody wants: without a wait for what is unsent in a socket, which SO_LINGER asks for.
void discard(std::span<file_descriptor>) noexcept;
/// The same with a socket of packets that nobody else reads from, and with what is in it. The peer sees its end.
void discard_packets(file_descriptor socket) noexcept;
/// As receive(), for the answer to what was sent: a next answer must not be taken for this one, so if even several
/// tries fail (the kernel has no memory), the socket is shut down. Its size is never below zero: 0 is the end.
message receive_answer(int fd, std::span<std::byte> buffer) noexcept;
/// As send(), but tries again if the kernel is short of memory, and never waits for a peer that does not read: -EAGAIN.
int send_now(int fd, std::initializer_list<std::span<const std::byte>> parts,
             std::span<const int> descriptors = {}) noexcept;
void shut_down(int fd) noexcept;  // both ways: the peer sees its end
bool hung_up(int fd) noexcept;    // the peer is gone
// Of a stream, TCP or unix. No SIGPIPE.
long receive_bytes(int fd, std::span<std::byte>) noexcept;      // waits until all of them are there, or the end
long receive_bytes_now(int fd, std::span<std::byte>) noexcept;  // what is there; -EAGAIN: nothing; 0: the end
long send_bytes(int fd, std::initializer_list<std::span<const std::byte>> parts) noexcept;      // how many were sent
long send_bytes_now(int fd, std::initializer_list<std::span<const std::byte>> parts) noexcept;  // the same; -EAGAIN

// ---- addresses: src/os/network.cpp --------------------------------------------------------------------------------
/// A socket address of any kind.
struct endpoint {
  alignas(8) std::array<std::byte, 128> bytes{};
  unsigned size = 0;
  bool of_unix() const noexcept;
};
/// Those of a host's name or number: 0, or a code of getaddrinfo(). Blocks: as long as the system's resolver.
int resolve(const std::string& host, const std::string& port, bool to_listen, std::vector<endpoint>& found);
std::string resolve_error(int code);
/// `name` is a path, or '@' and an abstract name, or only '@', for one that the kernel chooses. -ENAMETOOLONG.
int unix_endpoint(const std::string& name, endpoint& made) noexcept;
constexpr std::size_t most_unix_name = 107;
/// A socket that listens: of streams for TCP, of packets for unix. Never blocks an accept.
enum class may_connect { own_user, any_user };  // to a path of unix
int listen_at(const endpoint&, int backlog, may_connect) noexcept;
int accept_now(int listening) noexcept;  // -EAGAIN: nobody is there
int local_port(int fd) noexcept;
std::string local_name(int fd);                                          // of a unix socket, as unix_endpoint() has it
int connect_unix(const endpoint&, clock::time_point deadline) noexcept;  // -EAGAIN at the deadline
int connect_tcp(const endpoint&, clock::time_point deadline) noexcept;   // -ETIMEDOUT at the deadline
int tune_stream(int fd) noexcept;   // what is sent goes at once; a peer that vanished is noticed
long peer_user(int fd) noexcept;    // of a unix socket: the user id
long send_buffer(int fd) noexcept;  // of a socket: how many bytes it may hold
/// Asks for a buffer that holds at least `bytes`: how many it holds now.
long widen_send_buffer(int fd, std::size_t bytes) noexcept;
long unsent(int fd) noexcept;  // how many it holds
/// The folder, locked until the descriptor is closed; negative if it cannot be: -EAGAIN if somebody else had it locked
/// until the deadline, as everybody can who may read it.
int lock_folder(const std::string& folder, clock::time_point deadline) noexcept;
bool nobody_is_at(const endpoint&) noexcept;  // of unix: there is a file, and no socket that it belongs to
bool is_socket_file(const std::string& path) noexcept;
std::uint64_t file_number(const std::string& path) noexcept;  // 0: there is none
void remove_file(const std::string& path) noexcept;

// ---- processes ----------------------------------------------------------------------------------------------------
pid_t own_pid() noexcept;
uid_t own_user() noexcept;
[[gnu::hot]] pid_t parent_pid() noexcept;
pid_t own_tid() noexcept;
[[gnu::hot]] pid_t fork_process() noexcept;  // fork(): the caller has one thread
/// As fork_process(), but no wait call of the caller's other code sees the child, whose pidfd is put in `pidfd`.
pid_t fork_unseen(file_descriptor& pidfd) noexcept;
/// As fork_process(), but the child is the first process of a PID namespace; without privileges, in a user namespace too.
/// -EPERM, -ENOSPC, -EINVAL, -ENOSYS: this machine gives none.
pid_t fork_into_namespace() noexcept;
/// The number in this PID namespace of a child of a process that may be in another; as /proc has it. 0: it has ended.
pid_t pid_behind(int pidfd);
std::vector<std::string> own_arguments();  // of main; nothing without /proc
/// The same while other threads run: by fork(), so that the C library's locks are free in the child; a wait call may see
/// it.
pid_t fork_with_threads(file_descriptor& pidfd) noexcept;
int pidfd_of(pid_t) noexcept;
int send_signal(int pidfd, int signal) noexcept;
void kill_now(pid_t, int signal) noexcept;
struct ended_child {
  pid_t pid = 0;  // 0: none has ended; minus errno: ECHILD, there are no children
  int value = 0;  // the exit code, or minus the signal
  std::int64_t cpu_ns = 0;
  std::int64_t peak_bytes = 0;
};
ended_child reap_any(bool blocking) noexcept;
ended_child reap(int pidfd) noexcept;  // waits for, and reaps, a child made by fork_unseen
/// Becomes a fresh image of this program, with the same arguments and the environment as it is now. Returns only if that
/// fails.
int exec_self() noexcept;
const char* own_file() noexcept;  // by the name with which it was started
int set_variable(const char* name, const char* value) noexcept;
void unset_variable(const char* name) noexcept;
const char* variable(const char* name) noexcept;  // nullptr: not set, or this program has more rights than its caller
int change_directory(const char* path) noexcept;
[[noreturn]] [[gnu::hot]] void exit_now(int code) noexcept;
[[gnu::hot]] void name_thread(const char* name) noexcept;  // the first 15 bytes, as ps shows it
[[gnu::hot]] int adopt_orphans() noexcept;                 // PR_SET_CHILD_SUBREAPER
[[gnu::hot]] int
die_with_parent() noexcept;  // PR_SET_PDEATHSIG: only where the parent's forking thread is its only one
[[gnu::hot]] int lead_group() noexcept;
int allowed_cpus() noexcept;      // in the affinity mask
unsigned current_cpu() noexcept;  // of the calling thread; no system call where the C library knows it
void let_others_run() noexcept;
/// Asks for the line at that address to be this CPU's own. Where another wrote it last, that is one journey instead of
/// two: to look, and to write.
inline void want_to_write(const void* line) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

// ---- threads ------------------------------------------------------------------------------------------------------
int start_thread(void* (*body)(void*), void* argument, pthread_t& made) noexcept;
/// A key whose destructor runs when a thread that has set it ends, after those of its thread_local objects.
int make_thread_key(pthread_key_t& made, void (*at_end)(void*)) noexcept;
void set_thread_key(pthread_key_t, const void* value) noexcept;
int call_in_children(void (*)()) noexcept;                         // of fork()
bool join_thread(pthread_t, clock::time_point deadline) noexcept;  // false at the deadline
void leave_thread(pthread_t) noexcept;                             // nobody will join it

// ---- signals ------------------------------------------------------------------------------------------------------
[[gnu::hot]] void block_signals() noexcept;
[[gnu::hot]] void unblock_signals() noexcept;  // the empty mask
void default_dispositions() noexcept;          // of every signal
int child_signals() noexcept;                  // a descriptor, readable when a child has ended; signals must be blocked
void drain(int signal_fd) noexcept;
/// While it lives, the calling thread gets no signal; then the mask is as before.
class signal_guard {
 public:
  signal_guard() noexcept;
  ~signal_guard();
  signal_guard(const signal_guard&) = delete;
  signal_guard& operator=(const signal_guard&) = delete;

 private:
  std::array<unsigned long, 16> old_{};  // a sigset_t
};

// ---- futex --------------------------------------------------------------------------------------------------------
/// Waits while `word` is `expected`; false at the deadline. May return early.
bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, clock::time_point deadline = never) noexcept;
/// Waits while both words are what is expected; false at the deadline. May return early. On a kernel that can only wait
/// for one word (before 5.16, or a filter denies the call), it looks at the second again after a bounded time.
bool futex_wait_both(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::atomic<std::uint32_t>& second,
                     std::uint32_t second_expected, clock::time_point deadline = never) noexcept;
int futex_wake(std::atomic<std::uint32_t>& word, int most) noexcept;  // how many were woken
void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept;

// ---- /proc and cgroups: nothing where they are not mounted --------------------------------------------------------
int thread_count();                  // of this process, without those of a sanitizer; without /proc 1, or 2 for several
[[gnu::hot]] bool is_only_thread();  // the caller; cheap where no thread was ever started
std::vector<pid_t> children_of(pid_t);
std::size_t resident_bytes(pid_t);
struct known_process {
  pid_t pid = 0;
  file_descriptor pidfd;
};
/// All below `root` now. Errors: what there is no descriptor or memory for is left out.
std::vector<known_process> processes_below(pid_t root) noexcept;
/// Kills it and all below it, unless it has ended.
void kill_tree(const known_process&) noexcept;
void kill_descendants_of(pid_t root);  // all below it; the caller has stopped the root and sees to its end
/// SIGKILLs and reaps all children and, as they come to an adopter, their orphans, until none is left.
void kill_all_children(std::span<const pid_t> known) noexcept;
/// How many CPUs' time the cgroups of this process may use, rounded up; nothing if there is no limit. The two paths
/// stand for /proc/self and for the root of the file system.
std::optional<unsigned> cpu_quota(const std::string& proc_self = "/proc/self", const std::string& root = "");

}  // namespace tandem::os
