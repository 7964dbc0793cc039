// A stop that several processes share: an eventfd, which polls readable from the first request on and is never read.
#include <atomic>
#include <mutex>
#include <optional>

#include <tandem/stop_source.hpp>

#include "os/kernel.hpp"
#include "worker/service.hpp"

namespace tandem::detail {

class stop_link : public worker::listener, public std::enable_shared_from_this<stop_link> {
 public:
  explicit stop_link(std::stop_source source) : source_(std::move(source)) {}
  stop_link(const stop_link&) = delete;
  stop_link& operator=(const stop_link&) = delete;
  ~stop_link() override {
    telling_.reset();
    if (listening_) worker::forget(event_.get());
  }

  std::stop_source& source() noexcept { return source_; }
  const file_descriptor& descriptor() {
    const std::lock_guard lock(sharing_);
    if (!event_) share(file_descriptor(static_cast<int>(os::check(os::make_event(), "eventfd"))));
    return event_;
  }
  void share(file_descriptor event) {
    worker::listen(event.get(), weak_from_this());
    listening_ = true;
    event_ = std::move(event);
    telling_.emplace(source_.get_token(), teller{event_.get()});
  }
  void hear() noexcept override { source_.request_stop(); }

 private:
  struct teller {
    int event;
    void operator()() const noexcept { os::signal_event(event); }
  };

  std::stop_source source_;
  std::mutex sharing_;
  file_descriptor event_;
  bool listening_ = false;
  std::optional<std::stop_callback<teller>> telling_;
};

}  // namespace tandem::detail

namespace tandem {

stop_source::stop_source() : stop_source(std::stop_source()) {}
stop_source::stop_source(std::stop_source source) : link_(std::make_shared<detail::stop_link>(std::move(source))) {}
stop_source::stop_source(file_descriptor shared) : stop_source() { link_->share(std::move(shared)); }
stop_source::~stop_source() = default;
stop_source::stop_source(const stop_source&) noexcept = default;
stop_source::stop_source(stop_source&&) noexcept = default;
stop_source& stop_source::operator=(const stop_source&) noexcept = default;
stop_source& stop_source::operator=(stop_source&&) noexcept = default;

bool stop_source::request_stop() { return link_ && link_->source().request_stop(); }
bool stop_source::stop_requested() const noexcept { return link_ && link_->source().stop_requested(); }
std::stop_token stop_source::get_token() const noexcept {
  return link_ ? link_->source().get_token() : std::stop_token();
}

const file_descriptor& stop_source::descriptor() const {
  if (!link_) throw std::invalid_argument("tandem: this stop_source was moved from; it cannot be passed to a process");
  return link_->descriptor();
}

}  // namespace tandem
