#pragma once
// What can fence a process in. All are probes (child.hpp): run one only in a child, which is never the same again.
#include <string>

namespace cli::kernel {

enum class space { user, pid, mount, net };

int own_namespace(space);                // made and used with the rights that the caller has
int through_user_namespace(space);       // made inside a user namespace, as a user without privileges must
int as_nobody(space);                    // the same, by a caller that was root and has become nobody
int filter_refuses();                    // a seccomp filter that makes one call fail
int filter_traps();                      // one that sends SIGSYS, which is caught
int filter_notifies();                   // one that asks a listener
int landlock_refuses();                  // a path is closed: gives the version of the interface
int killed_by_group(std::string group);  // ends by SIGKILL, from this cgroup's cgroup.kill

}  // namespace cli::kernel
