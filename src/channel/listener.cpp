#include "channel/listener.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <utility>

#include <tandem/error.hpp>

#include "channel/waiting.hpp"

namespace tandem::detail {

using channel::line;
using channel::reception;

namespace {

/// The listeners of this program, and where they are: of tcp the port says enough.
struct own_listeners {
  struct one {
    std::string place;
    std::weak_ptr<listener_core> core;
  };
  std::mutex mutex;
  std::map<const listener_core*, one> all;
};
own_listeners& own() {
  static auto* const made = new own_listeners;  // never destroyed: static listeners may outlive it
  return *made;
}
void drain(const file_descriptor& counter) {
  std::array<std::byte, 8> count;
  os::read_some(counter.get(), count);
}

/// Of clients that have shaken hands, and of failures, so many wait for an accept().
constexpr std::size_t most_untaken = 256;

std::string place_of(const channel::address& a) {
  if (!a.is_unix) return a.port;
  return a.is_path() ? std::filesystem::absolute(a.name).lexically_normal().string() : a.name;
}

}  // namespace

bool is_own_listener(const channel::address& a) {
  const std::string place = place_of(a);
  const std::lock_guard lock(own().mutex);
  return std::any_of(own().all.begin(), own().all.end(), [&](const auto& each) { return each.second.place == place; });
}

bool attend_own_listener(const channel::address& a) {
  const std::string place = place_of(a);
  std::vector<std::shared_ptr<listener_core>> there;
  {
    const std::lock_guard lock(own().mutex);
    for (const auto& [at, one] : own().all) {
      if (one.place != place) continue;
      if (auto core = one.core.lock()) there.push_back(std::move(core));
    }
  }
  for (const auto& core : there) core->attend();
  return !there.empty();
}

std::shared_ptr<listener_core> make_listener(const std::string& address, socket_options options) {
  auto made = std::make_shared<listener_core>(address, std::move(options));
  const std::lock_guard lock(own().mutex);
  own().all[made.get()] = {place_of(channel::parse_address(made->address())), made};
  return made;
}

// ---- beginning and end --------------------------------------------------------------------------------------------

listener_core::listener_core(const std::string& address, socket_options options)
    : address_(channel::parse_address(address)),
      options_(std::move(options)),
      listens_at_(address),
      owner_(os::own_pid()),
      process_(owner_) {
  channel::require_crypto(options_);
  if (options_.tls) {
    if (address_.is_unix)
      throw std::invalid_argument("tandem: .tls is for tcp:// only: what goes over unix: leaves no machine");
    tls_ = channel::make_tls_context(*options_.tls, true);
  }
  listen(channel::endpoints_of(address_, true).front());
  try {
    make_set();
  } catch (...) {
    close();
    throw;
  }
}

void listener_core::make_set() {
  file_descriptor poll(static_cast<int>(os::check(os::make_poll(), "epoll_create1")));
  file_descriptor news(static_cast<int>(os::check(os::make_event(), "eventfd")));
  file_descriptor timer(static_cast<int>(os::check(os::make_timer(), "timerfd_create")));
  for (const int fd : {socket_.get(), news.get(), timer.get()}) os::check(os::poll_add(poll.get(), fd), "epoll_ctl");
  poll_ = std::move(poll);
  news_ = std::move(news);
  timer_ = std::move(timer);
}

// In a child made by fork() the set is still that of its parent, and so are the clients in it: it begins anew, with the
// socket alone.
void listener_core::keep_to_this_process() {
  const pid_t self = os::own_pid();
  if (process_ == self || closed_.load()) return;
  make_set();
  forget_clients();
  has_outcome_ = false;
  process_ = self;
}

void listener_core::forget_clients() {
  shaking_.clear();
  done_.clear();
  failed_.clear();
  shortage_ = nullptr;
  next_deadline_ = os::never;
}

void listener_core::listen(const os::endpoint& at) {
  if (address_.is_path()) return listen_at_path(at);
  const int fd = os::listen_at(at, options_.backlog, clients());
  if (fd < 0) os::throw_failed("bind", -fd, "no listener could be made at " + address_.text);
  socket_ = file_descriptor(fd);
  if (address_.is_unix) {
    listens_at_ = "unix:" + os::local_name(fd);
  } else {
    listens_at_ = channel::tcp_text(address_.host, static_cast<int>(os::check(os::local_port(fd), "getsockname")));
  }
}

// Two programs that find the same stale file take turns: else the second would remove the file of the first.
void listener_core::listen_at_path(const os::endpoint& at) {
  const auto path = std::filesystem::absolute(address_.name);  // wherever the program goes until it removes the file
  file_ = path.string();
  folder_ = path.parent_path().string();
  const int locked = os::lock_folder(folder_, deadline_after(options_.handshake_deadline));
  if (locked == -EAGAIN) {
    os::throw_failed("flock", EAGAIN,
                     "another program keeps the folder of " + address_.text + " locked: choose a folder of your own");
  }
  const file_descriptor folder(locked);
  int fd = os::listen_at(at, options_.backlog, clients());
  if (fd == -EADDRINUSE && os::is_socket_file(file_) && os::nobody_is_at(at)) {
    os::remove_file(file_);
    fd = os::listen_at(at, options_.backlog, clients());
  }
  if (fd < 0) {
    os::throw_failed("bind", -fd,
                     fd == -EADDRINUSE ? "somebody listens at " + address_.text + ", or the file is no socket"
                                       : "no listener could be made at " + address_.text);
  }
  socket_ = file_descriptor(fd);
  file_number_ = os::file_number(file_);
}

listener_core::~listener_core() { close(); }

void listener_core::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (closed_.exchange(true)) return;
  // Under the lock of the folder nobody puts another file there between the look and the removal. Who keeps it locked
  // for longer keeps no file there by that.
  if (address_.is_path() && owner_ == os::own_pid()) {
    constexpr nanoseconds a_moment = std::chrono::milliseconds(200);
    const file_descriptor folder(os::lock_folder(folder_, deadline_after(a_moment)));
    if (os::file_number(file_) == file_number_) os::remove_file(file_);
  }
  {
    const std::lock_guard others(own().mutex);
    own().all.erase(this);
  }
  if (process_ == os::own_pid()) {  // else the set is another's
    for (const auto& [fd, client] : shaking_) os::poll_remove(poll_.get(), fd);
    os::poll_remove(poll_.get(), socket_.get());
    os::signal_event(news_.get());  // wakes all that wait, and is never drained again
  }
  forget_clients();
  socket_ = {};
}

std::string listener_core::address() const { return listens_at_; }

int listener_core::native_handle() noexcept {
  try {
    return look().descriptor;
  } catch (const tandem::error&) {  // in a child made by fork(), that has no descriptor left
    return -1;
  }
}

// ---- accepting ----------------------------------------------------------------------------------------------------

std::optional<channel_end> listener_core::accept(channel_types types, clock::time_point deadline) {
  if (types.handles && !address_.is_unix) {
    throw std::invalid_argument(
        "tandem: descriptors and other handles cannot cross a TCP connection: they belong to one machine; use unix:");
  }
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_.load()) throw closed("tandem: this listener was closed");
      keep_to_this_process();
      step();
      if (auto client = take_outcome()) return welcome(std::move(**client), types);
    }
    if (deadline != os::never && clock::now() >= deadline) return std::nullopt;
    channel::wait_until_readable(poll_.get(), deadline);
  }
}

// A client, or throws what became of one. Those that are good go first: no number of others keeps them waiting.
std::optional<std::unique_ptr<reception>> listener_core::take_outcome() {
  std::exception_ptr failure;
  std::unique_ptr<reception> client;
  if (!done_.empty()) {
    client = std::move(done_.front());
    done_.pop_front();
  } else if (shortage_) {
    failure = std::exchange(shortage_, nullptr);
  } else if (!failed_.empty()) {
    failure = std::move(failed_.front());
    failed_.pop_front();
  }
  tell();
  if (failure) std::rethrow_exception(failure);
  if (!client) return std::nullopt;
  return client;
}

channel_end listener_core::welcome(reception&& client, channel_types types) {
  const bool fit = client.client().sends == types.receives && client.client().receives == types.sends;
  channel::packet_options options;
  options.most_bytes = options_.max_message_bytes;
  auto core = std::move(client).conclude(fit, options);
  if (!core) {
    throw broken_connection(
        "tandem: a client sends and receives messages of other types: accept<Send, Receive>() names them from this "
        "side, "
        "connect<Send, Receive>() from the other");
  }
  return channel_end(std::move(core));
}

// The eventfd is readable while there is an outcome.
void listener_core::tell() {
  const bool has = !done_.empty() || shortage_ || !failed_.empty();
  if (has == has_outcome_.exchange(has)) return;
  if (has) {
    os::signal_event(news_.get());
  } else {
    drain(news_);
  }
}

void listener_core::step() {
  constexpr int most_at_once = 256;  // then the caller has its turn
  bool took_in = false;
  for (int i = 0; i < most_at_once; ++i) {
    const int fd = os::poll_now(poll_.get());
    if (fd < 0) break;
    if (fd == socket_.get()) {
      if (std::exchange(took_in, true)) break;  // all others have had their turn
      take_clients();
    } else if (fd == news_.get()) {
      if (has_outcome_.load()) break;  // first things first
      drain(news_);                    // what failed when the last one was taken
    } else if (fd == timer_.get()) {
      drain(timer_);
    } else {
      go_on(fd);
    }
  }
  drop_late_ones();
  tell();
}

// A client that cannot be taken in, for want of a descriptor or memory, stays in the backlog; those that are in go on.
void listener_core::take_clients() {
  constexpr int most_at_once = 64;
  shortage_ = nullptr;
  for (int i = 0; i < most_at_once && done_.size() < most_untaken; ++i) {
    const int fd = os::accept_now(socket_.get());
    if (fd == -EAGAIN) return;
    if (fd < 0) {
      shortage_ = std::make_exception_ptr(
          resource_exhausted("accept4", std::error_code(-fd, std::generic_category()),
                             "a client waits until it can be taken in: close some descriptors, or raise their limit "
                             "(RLIMIT_NOFILE, ulimit -n)"));
      return;
    }
    try {
      admit(file_descriptor(fd));
    } catch (const std::exception&) {
      has_failed(std::current_exception());
    }
  }
}

// Of those that nobody asked for the last are kept.
void listener_core::has_failed(std::exception_ptr why) {
  if (failed_.size() == most_untaken) failed_.pop_front();
  failed_.push_back(std::move(why));
}

void listener_core::admit(file_descriptor socket) {
  if (address_.is_unix && !options_.any_user) {
    const long user = os::check(os::peer_user(socket.get()), "getsockopt(SO_PEERCRED)");
    if (user != static_cast<long>(os::own_user())) {
      throw authentication_failed("tandem: a client of the user " + std::to_string(user) +
                                  " was refused: .any_user lets others in");
    }
  }
  const clock::time_point deadline = deadline_after(options_.handshake_deadline);
  const int fd = socket.get();
  std::unique_ptr<reception> client;
  if (address_.is_unix) {
    client = std::make_unique<reception>(line(std::move(socket)), nullptr, options_.key, deadline);
  } else {
    os::check(os::tune_stream(fd), "setsockopt");
    if (tls_) {
      auto bytes = channel::make_tls(tls_, std::move(socket), {});
      channel::tls_bytes* const tls = bytes.get();
      client = std::make_unique<reception>(line(std::move(bytes)), tls, options_.key, deadline);
    } else {
      client = std::make_unique<reception>(line(std::make_unique<channel::plain_bytes>(std::move(socket))), nullptr,
                                           options_.key, deadline);
    }
  }
  if (client->step()) {
    done_.push_back(std::move(client));
    return;
  }
  os::check(os::poll_add(poll_.get(), fd), "epoll_ctl");
  be_there_at(deadline);
  shaking_.emplace(fd, std::move(client));
}

void listener_core::go_on(int descriptor) {
  const auto found = shaking_.find(descriptor);
  if (found == shaking_.end()) return;
  try {
    if (!found->second->step()) return;
    done_.push_back(std::move(found->second));
  } catch (const std::exception&) {
    has_failed(std::current_exception());
  }
  os::poll_remove(poll_.get(), descriptor);
  shaking_.erase(found);
}

void listener_core::be_there_at(clock::time_point deadline) {
  if (deadline >= next_deadline_) return;
  next_deadline_ = deadline;
  os::set_timer(timer_.get(), deadline);
}

void listener_core::drop_late_ones() {
  if (next_deadline_ == os::never) return;
  const clock::time_point current = clock::now();
  if (current < next_deadline_) return;
  next_deadline_ = os::never;
  for (auto at = shaking_.begin(); at != shaking_.end();) {
    if (at->second->deadline() > current) {
      be_there_at(at->second->deadline());
      ++at;
      continue;
    }
    os::poll_remove(poll_.get(), at->first);
    at = shaking_.erase(at);
  }
}

// Not by a copy in a child made by fork() that has not begun to listen: a client would find nobody there to accept it.
void listener_core::attend() {
  const std::lock_guard lock(mutex_);
  if (!closed_.load() && process_ == os::own_pid()) step();
}

bool listener_core::ready() {
  const std::lock_guard lock(mutex_);
  if (closed_.load()) return true;
  keep_to_this_process();
  step();
  return has_outcome_.load();
}

wait_state listener_core::look() {
  const std::lock_guard lock(mutex_);
  if (closed_.load()) return {-1, true};
  keep_to_this_process();
  return {poll_.get(), has_outcome_.load(), true};
}

}  // namespace tandem::detail

namespace tandem {

listener::listener(std::string address, socket_options options)
    : core_(detail::make_listener(address, std::move(options))) {}
listener::listener(listener&&) noexcept = default;
listener& listener::operator=(listener&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}
listener::~listener() { close(); }

std::string listener::address() const {
  if (!core_) throw closed("tandem: this listener was moved from");
  return core_->address();
}

void listener::close() noexcept {
  if (core_) core_->close();
}

int listener::native_handle() const noexcept { return core_ ? core_->native_handle() : -1; }

std::optional<detail::channel_end> listener::accept_end(detail::channel_types types, clock::time_point deadline) {
  const std::shared_ptr<detail::listener_core> core = core_;
  if (!core) throw closed("tandem: this listener was moved from");
  return core->accept(types, deadline);
}

detail::wait_entry detail::waiting<listener>::of(const listener& l) {
  return {&l,
          [](const void* h) {
            const auto& core = static_cast<const listener*>(h)->core_;
            return core ? core->look() : wait_state{-1, true};
          },
          [](const void* h) {
            const auto& core = static_cast<const listener*>(h)->core_;
            return !core || core->ready();
          },
          nullptr, nullptr};
}

}  // namespace tandem
