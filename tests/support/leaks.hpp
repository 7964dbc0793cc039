#pragma once
// What a test may leave behind: nothing.
#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace tandem::test {

struct stock {
  std::map<std::string, int> descriptors;  // what they refer to, and how many
  int threads = 0;
  int memory_maps = 0;                    // of memfds
  std::vector<std::string> shared_files;  // in /dev/shm
  std::size_t descendants = 0;
  std::map<std::string, int> descendant_descriptors;  // of keeper and server together
};

stock take_stock();
/// What is there that was not there before; waits for what is on its way out.
std::vector<std::string> leaks_since(const stock& before);

/// All processes below `root`, zombies included.
std::vector<pid_t> descendants_of(pid_t root);
std::size_t descriptor_count(pid_t);
/// The server that has cloned this worker of ours; 0 if it has died: orphans belong to the keeper.
pid_t fork_server_of(pid_t worker);
bool is_zombie(pid_t);
bool exists(pid_t);
bool sleeps_at_futex(pid_t);
/// True as soon as `condition` holds; false if it did not within `seconds`, which only a hang makes it wait for.
bool eventually(const std::function<bool()>& condition, int seconds = 20);

}  // namespace tandem::test
