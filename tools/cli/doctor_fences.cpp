#include <fmt/format.h>

#include "findings.hpp"
#include "kernel/fences.hpp"
#include "kernel/machine.hpp"

namespace cli {

namespace {

struct kind {
  const char* name;
  kernel::space which;
  const char* gives;  // what is possible with it
};

constexpr kind kinds[] = {
    {"user namespace", kernel::space::user, "The other namespaces can be made without privileges."},
    {"PID namespace", kernel::space::pid, "All processes below a worker can be ended at once, whatever they do."},
    {"mount namespace", kernel::space::mount, "A process can be shown files of its own, and no others."},
    {"net namespace", kernel::space::net, "A process can be cut off from the network."},
};

// Root is asked for the others as well: what a service of theirs could do here.
const char* for_others(const kind& k) {
  if (kernel::user() != 0) return "";
  return kernel::in_child([&] { return kernel::as_nobody(k.which); }).worked() ? "others too" : "root only";
}

finding own(const kind& k) {
  const kernel::tried direct = kernel::in_child([&] { return kernel::own_namespace(k.which); });
  if (direct.worked()) return {k.name, answer::yes, for_others(k), k.gives};
  const kernel::tried inside = kernel::in_child([&] { return kernel::through_user_namespace(k.which); });
  if (k.which != kernel::space::user && inside.worked()) {
    return {k.name, answer::yes, "in a user namespace", k.gives};
  }
  return {k.name, answer::no, direct.why(), "A process cannot be fenced in by one here."};
}

finding landlock() {
  const kernel::tried done = kernel::in_child(kernel::landlock_refuses);
  if (!done.worked()) {
    return {"Landlock", answer::no, done.why(), "Files cannot be closed to a process by path; see mount namespace."};
  }
  return {"Landlock", answer::yes, fmt::format("ABI {}", done.value),
          done.value >= 6   ? "Files, TCP ports and signals to others can be closed to a process."
          : done.value >= 4 ? "Files and TCP ports can be closed to a process; signals to others from ABI 6 on."
                            : "Files can be closed to a process; TCP ports from ABI 4 on."};
}

}  // namespace

section fences() {
  section all{"Isolation", {}};
  for (const kind& k : kinds) all.rows.push_back(own(k));
  const std::vector<trial> filters = {
      {"seccomp filter", kernel::filter_refuses, "System calls can be refused to a process.",
       "System calls cannot be refused to a process."},
      {"seccomp trap", kernel::filter_traps, "A refused call can be told with its stack: the process gets SIGSYS.",
       "A refused call cannot be told with its stack."},
      {"seccomp listener", kernel::filter_notifies, "Another process can be asked whether a call is allowed.",
       "Nobody can be asked whether a call is allowed: the list is made beforehand."},
  };
  for (const trial& t : filters) all.rows.push_back(found_by(t));
  all.rows.push_back(landlock());
  return all;
}

}  // namespace cli
