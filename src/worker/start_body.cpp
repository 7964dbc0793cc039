#include "worker/start_body.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include <tandem/detail/transfer_callable.hpp>
#include <tandem/init.hpp>

#include "os/kernel.hpp"
#include "worker/protocol.hpp"

namespace tandem {

namespace {

struct function_list {
  std::mutex mutex;
  std::vector<void (*)()> functions;
};

function_list& listed() {
  static auto* list = new function_list;  // never destroyed: workers may be started by destructors of static objects
  return *list;
}

}  // namespace

void on_worker_start(void (*function)()) {
  if (function == nullptr) throw std::invalid_argument("tandem::on_worker_start: the function is a null pointer");
  function_list& list = listed();
  const std::lock_guard lock(list.mutex);
  if (std::find(list.functions.begin(), list.functions.end(), function) == list.functions.end())
    list.functions.push_back(function);
}

namespace worker {

std::vector<void (*)()> start_functions() {
  function_list& list = listed();
  const std::lock_guard lock(list.mutex);
  return list.functions;
}

std::vector<std::byte> write_body(std::string_view name, const worker_setup& setup, std::span<const std::byte> call) {
  std::vector<std::byte> encoded;
  if (!setup.empty()) {
    writer out;
    out(setup.cwd);
    out(setup.environment);
    out(setup.on_start.size());
    for (auto* function : setup.on_start) detail::write_callable(out, function);
    encoded = detail::take_bytes(std::move(out));
  }
  const start_body head{static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(encoded.size())};
  std::vector<std::byte> body(sizeof head + name.size() + encoded.size() + call.size());
  std::byte* at = body.data();
  const auto append = [&at](std::span<const std::byte> bytes) { at = std::copy(bytes.begin(), bytes.end(), at); };
  append(bytes_of(head));
  append(std::as_bytes(std::span(name)));
  append(encoded);
  append(call);
  return body;
}

body_parts read_body(std::span<const std::byte> body) {
  start_body head;
  if (!read_message(head, body)) throw decode_error("tandem: a worker was started without a call");
  body = body.subspan(sizeof head);
  if (head.name_bytes > body.size() || head.setup_bytes > body.size() - head.name_bytes) {
    throw decode_error("tandem: a worker was started with a call that is cut off");
  }
  body_parts parts;
  parts.name = {reinterpret_cast<const char*>(body.data()), head.name_bytes};
  parts.setup = body.subspan(head.name_bytes, head.setup_bytes);
  parts.call = body.subspan(head.name_bytes + std::size_t{head.setup_bytes});
  return parts;
}

std::vector<std::byte> read_memfd(int memfd) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(os::check(os::size_of(memfd), "fstat")));
  os::check(os::read_at(memfd, bytes, 0), "pread");
  return bytes;
}

worker_setup read_setup(std::span<const std::byte> bytes) {
  worker_setup setup;
  if (bytes.empty()) return setup;
  reader in = detail::make_reader(bytes);
  in(setup.cwd);
  in(setup.environment);
  const auto count = detail::read_value<std::size_t>(in);
  for (std::size_t i = 0; i < count; ++i) setup.on_start.push_back(detail::read_callable<void (*)()>(in));
  detail::finish(in);
  return setup;
}

void change_surroundings(const worker_setup& setup) {
  for (const auto& [name, value] : setup.environment)
    os::check(os::set_variable(name.c_str(), value.c_str()), "setenv");
  if (setup.cwd.empty()) return;
  const int failed = os::change_directory(setup.cwd.c_str());
  if (failed == -ENOMEM || failed == -EMFILE || failed == -ENFILE) os::throw_failed("chdir", -failed);
  if (failed < 0) throw_no_directory(std::error_code(-failed, std::generic_category()), setup.cwd);
}

void throw_no_directory(std::error_code failed, const std::string& directory) {
  throw std::system_error(failed, "tandem: the directory to run in, " + directory);
}

}  // namespace worker
}  // namespace tandem
