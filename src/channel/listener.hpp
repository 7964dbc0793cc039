#pragma once
// Listening: many clients shake hands side by side, in whichever threads are in accept() just then.
#include <atomic>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include <tandem/socket.hpp>

#include "channel/address.hpp"
#include "channel/handshake.hpp"

namespace tandem::detail {

class listener_core {
 public:
  listener_core(const std::string& address, socket_options options);
  listener_core(const listener_core&) = delete;
  listener_core& operator=(const listener_core&) = delete;
  ~listener_core();

  std::string address() const;
  std::optional<channel_end> accept(channel_types types, clock::time_point deadline);
  void close() noexcept;
  int native_handle() noexcept;
  bool ready();
  void attend();
  wait_state look();

 private:
  void make_set();
  void keep_to_this_process();
  void listen(const os::endpoint&);
  void listen_at_path(const os::endpoint&);
  os::may_connect clients() const noexcept {
    return options_.any_user ? os::may_connect::any_user : os::may_connect::own_user;
  }
  void step();
  void take_clients();
  void admit(file_descriptor socket);
  void go_on(int descriptor);
  void has_failed(std::exception_ptr why);
  void be_there_at(clock::time_point deadline);
  void drop_late_ones();
  void forget_clients();
  void tell();
  std::optional<std::unique_ptr<channel::reception>> take_outcome();
  channel_end welcome(channel::reception&& client, channel_types types);

  const channel::address address_;
  const socket_options options_;
  std::string listens_at_;  // with the port or name that was chosen
  std::string file_;        // of unix:/path
  std::string folder_;
  std::uint64_t file_number_ = 0;
  const pid_t owner_;
  pid_t process_;  // which has made the three that follow: a copy of it has its own
  std::shared_ptr<channel::tls_context> tls_;
  file_descriptor poll_;   // all of the following, and the sockets of those who shake hands
  file_descriptor news_;   // readable while there is an outcome that nobody took
  file_descriptor timer_;  // readable at next_deadline_
  file_descriptor socket_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> has_outcome_{false};
  std::mutex mutex_;  // of what follows; never held while anybody waits
  std::map<int, std::unique_ptr<channel::reception>> shaking_;
  clock::time_point next_deadline_ = os::never;  // not after that of any who shakes hands
  std::deque<std::unique_ptr<channel::reception>> done_;
  std::deque<std::exception_ptr> failed_;
  std::exception_ptr shortage_;  // why nobody was taken in
};

std::shared_ptr<listener_core> make_listener(const std::string& address, socket_options options);
bool is_own_listener(const channel::address&);
/// Lets the listeners of this program at that address go on with who shakes hands, as far as that goes without a wait:
/// true if there are any.
bool attend_own_listener(const channel::address&);

}  // namespace tandem::detail
