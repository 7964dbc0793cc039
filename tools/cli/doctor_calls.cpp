#include "findings.hpp"
#include "kernel/calls.hpp"
#include "kernel/machine.hpp"

namespace cli {

finding found_by(const trial& t) {
  const kernel::tried done = kernel::in_child(t.what);
  const bool needed = t.how_much == need::required;
  if (done.worked()) return {t.name, answer::yes, {}, t.if_it_works, needed};
  return {t.name, answer::no, done.why(), t.if_not, needed};
}

section kernel_calls() {
  const std::vector<trial> trials = {
      {"pidfd_open", kernel::call_pidfd_open,  //
       "A process is held by a descriptor, so its pid is never mistaken for another's.",
       "No process can be started: tandem needs Linux 5.4 and a filter that lets this call through.", need::required},
      {"waitid on a pidfd", kernel::call_waitid_on_pidfd,
       "The end of a process is learnt from its descriptor, and from nothing else.",
       "The end of a process cannot be learnt: tandem needs Linux 5.4.", need::required},
      {"pidfd_send_signal", kernel::call_pidfd_send_signal,
       "A signal reaches the process that it was meant for, or nobody.",
       "Processes cannot be sent signals, nor killed when they do not stop.", need::required},
      {"clone3", kernel::call_clone3,  //
       "A wait for any child, elsewhere in the program, does not see the keeper of the fork server.",
       "The keeper of the fork server is made by fork: a wait for any child may see it end."},
      {"close_range", kernel::call_close_range,  //
       "Closing many descriptors costs one call.",
       "Descriptors are closed one by one, which makes starts dearer where many are open."},
      {"memfd_create", kernel::call_memfd_create,
       "Large arguments and results travel in memory that has no name and is gone with its last holder.",
       "No process can be started: its shared memory cannot be made.", need::required},
      {"memfd seals", kernel::call_memfd_seals,  //
       "Nobody can shrink shared memory under the feet of the others.",
       "No process can be started: shared memory could be shrunk by a worker, which would kill its host.",
       need::required},
      {"futex_waitv", kernel::call_futex_waitv,  //
       "Who sleeps at a lock learns at once of the death of its owner.",
       "Who sleeps at a lock learns of the death of its owner within 50 ms."},
  };
  section calls{"Kernel",
                {{"kernel", answer::value, kernel::release(),
                  "Each call below was tried: a version promises what a filter may refuse."}}};
  for (const trial& t : trials) calls.rows.push_back(found_by(t));
  return calls;
}

}  // namespace cli
