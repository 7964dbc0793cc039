#include "worker/fresh_image.hpp"

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include <tandem/error.hpp>

#include "os/faults.hpp"
#include "os/kernel.hpp"
#include "sync/session.hpp"
#include "worker/child_side.hpp"
#include "worker/fork_watch.hpp"
#include "worker/start_body.hpp"

namespace tandem::worker {

namespace {

// What a fresh image finds in its environment: ledger, slot, memfd with the body, door, pidfd of the parent, handles.
constexpr char variable[] = "TANDEM_FRESH_IMAGE";
constexpr std::size_t fixed_numbers = 5;

void keep_over_exec(int fd) { os::check(os::close_on_exec(fd, false), "fcntl(F_SETFD)"); }

std::string described(const worker_start& start) {
  std::string text;
  const auto add = [&text](long number) {
    if (!text.empty()) text += ',';
    text += std::to_string(number);
  };
  add(start.ledger);
  add(start.slot);
  for (const int fd : {start.body_memfd, start.self.door, start.self.parent_pidfd}) add(fd);
  for (const file_descriptor& fd : start.handles) add(fd.get());
  return text;
}

std::vector<int> numbers_in(std::string_view text) {
  std::vector<int> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int number = -1;
    const auto [after, failed] = std::from_chars(at, end, number);
    if (failed != std::errc() || (after != end && *after != ',')) return {};
    numbers.push_back(number);
    at = after == end ? end : after + 1;
  }
  return numbers;
}

[[noreturn]] void fail_stray_variable() {
  throw tandem::error(std::string("tandem: the environment variable ") + variable +
                      " is set, but not by tandem: unset it");
}

}  // namespace

bool awaits_init() noexcept { return os::variable(variable) != nullptr; }

void become_fresh_image(const worker_start& start) {
  try {
    std::vector<std::byte> body = read_memfd(start.body_memfd);
    change_surroundings(read_setup(read_body(body).setup));
    for (const int fd : {start.ledger, start.body_memfd, start.self.door, start.self.parent_pidfd}) keep_over_exec(fd);
    for (const file_descriptor& fd : start.handles) keep_over_exec(fd.get());
    if (start.session >= 0) {
      keep_over_exec(start.session);
      const std::string given = std::to_string(start.session) + "," + std::to_string(start.self.process) + "," +
                                std::to_string(sync::session_version);
      os::check(os::set_variable(sync::session_variable, given.c_str()), "setenv");
    }
    os::check(os::set_variable(variable, described(start).c_str()), "setenv");
    // Until the image has come to init(), this is what there is to say of its end.
    set_text(start.self.page->exception_what,
             "the fresh image of the program ended before its main came to tandem::init()");
    const int failed = os::exec_self();
    os::throw_failed("execve", -failed,
                     std::string("a fresh image is made of the program's own file, which was ") + os::own_file());
  } catch (...) {
    publish_exception(std::current_exception());
  }
  os::exit_now(1);
}

void run_fresh_image() {
  const std::vector<int> numbers = numbers_in(os::variable(variable));
  os::unset_variable(variable);
  if (numbers.size() < fixed_numbers) fail_stray_variable();
  const file_descriptor ledger(numbers[0]);
  const auto slot = static_cast<std::uint32_t>(numbers[1]);
  if (!os::sealed_at(ledger.get(), ledger_bytes) || slot >= slot_count) fail_stray_variable();
  own_worker self;
  self.process = sync::program_handle();
  // SAFETY: a whole page of a sealed ledger.
  self.page = static_cast<slot_page*>(os::map(ledger.get(), page_offset(slot), page_bytes));
  if (self.page == nullptr) os::throw_failed("mmap", errno);
  self.door = numbers[3];
  self.parent_pidfd = numbers[4];
  set_text(self.page->exception_what, "");
  os::set_role(os::role::worker);
  os::default_dispositions();  // whatever main did before it came here: a worker can be ended
  os::unblock_signals();
  watch_forks();
  os::keep_from_copies(self.page, page_bytes);
  prepare_child_side(false);
  be_worker(self);
  std::vector<file_descriptor> handles;
  for (std::size_t i = fixed_numbers; i < numbers.size(); ++i) handles.emplace_back(numbers[i]);
  for (std::size_t i = 2; i < numbers.size(); ++i) os::close_on_exec(numbers[i], true);
  run_body({}, numbers[2], handles);
}

}  // namespace tandem::worker
