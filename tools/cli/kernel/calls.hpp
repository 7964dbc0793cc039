#pragma once
// System calls, each made once and its effect looked at: what a kernel's version promises, a filter may refuse.
// All are probes (child.hpp): they give 0, or minus an errno.
namespace cli::kernel {

int call_pidfd_open();
int call_waitid_on_pidfd();
int call_pidfd_send_signal();
int call_clone3();
int call_close_range();
int call_memfd_create();
int call_memfd_seals();
int call_memfd_hugetlb();  // mapped and touched
int call_futex_waitv();

}  // namespace cli::kernel
