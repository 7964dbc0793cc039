#include "observe/log.hpp"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

namespace tandem {

namespace {

using receiver = std::function<void(log_level, std::string_view)>;

struct sink {
  std::mutex mutex;
  std::shared_ptr<const receiver> current;
};

sink& the_sink() {
  static sink* const one = new sink;  // never destroyed: objects of static duration may log in their destructors
  return *one;
}

std::atomic<void (*)(log_level, std::string_view) noexcept> forwarder{nullptr};

const char* level_name(log_level level) {
  switch (level) {
    case log_level::debug: return "debug";
    case log_level::information: return "information";
    case log_level::warning: return "warning";
    case log_level::error: return "error";
  }
  return "";
}

void print(log_level level, std::string_view text) {
  std::string line = std::string("tandem: ") + level_name(level) + ": " + std::string(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);  // one write: stderr is unbuffered
}

}  // namespace

void on_log(std::function<void(log_level, std::string_view)> receive) {
  auto next = receive ? std::make_shared<const receiver>(std::move(receive)) : nullptr;
  sink& s = the_sink();
  const std::lock_guard lock(s.mutex);
  s.current.swap(next);
}

namespace observe {

void log(log_level level, std::string_view text) noexcept {
  const int kept = errno;
  try {
    if (const auto forward = forwarder.load(std::memory_order_acquire)) {
      forward(level, text);
    } else {
      sink& s = the_sink();
      std::shared_ptr<const receiver> receive;
      {
        const std::lock_guard lock(s.mutex);
        receive = s.current;
      }
      if (receive) {
        try {
          (*receive)(level, text);
        } catch (...) {
          print(log_level::error, "the function given to on_log threw; its message was: " + std::string(text));
        }
      } else if (level >= log_level::warning) {
        print(level, text);
      }
    }
  } catch (...) {
    std::fputs("tandem: error: no memory for a message\n", stderr);
  }
  errno = kept;
}

void forward_to(void (*forward)(log_level, std::string_view) noexcept) noexcept {
  forwarder.store(forward, std::memory_order_release);
}

}  // namespace observe
}  // namespace tandem
