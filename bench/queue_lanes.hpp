#pragma once
// What bench_queue compares: each moves messages of one size from any who push to any who pop. A lane is made before the
// processes are forked; begin() is called after that, in each of them, since some libraries refuse to be forked once used.
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#if TANDEM_BENCH_ZMQ
#include <zmq.h>
#endif
#if TANDEM_BENCH_NNG
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#endif
#if TANDEM_BENCH_ICEORYX
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#endif
#if TANDEM_BENCH_TBB
#include <tbb/concurrent_queue.h>
#endif
#if TANDEM_BENCH_MOODYCAMEL
#include <concurrentqueue/blockingconcurrentqueue.h>
#endif

#include <array>
#include <bit>
#include <memory>
#include <optional>
#include <span>

#include <tandem/tandem.hpp>

#include "measure.hpp"

namespace bench {

using bytes = std::span<std::byte>;

inline void require(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + " failed");
}

/// One way from any who have it to any who have it; made before the processes are forked.
class lane {
 public:
  lane() = default;
  lane(const lane&) = delete;
  lane& operator=(const lane&) = delete;
  virtual ~lane() = default;
  /// In each process, before it is used, once all are forked.
  virtual void begin(bool pushes) { static_cast<void>(pushes); }
  virtual void push(bytes) = 0;
  virtual void pop(bytes) = 0;
};

// ---- the kernel's -----------------------------------------------------------------------------------------------

class stream_lane final : public lane {
 public:
  explicit stream_lane(bool pipe) {
    require(pipe ? ::pipe2(ends_.data(), O_CLOEXEC) == 0
                 : ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) == 0,
            "pipe2");
  }
  ~stream_lane() override {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void push(bytes all) override {
    while (!all.empty()) all = all.subspan(moved(::write(ends_[1], all.data(), all.size())));
  }
  void pop(bytes all) override {
    while (!all.empty()) all = all.subspan(moved(::read(ends_[0], all.data(), all.size())));
  }

 private:
  static std::size_t moved(ssize_t n) {
    require(n > 0, "read or write");
    return static_cast<std::size_t>(n);
  }
  std::array<int, 2> ends_{};
};

inline std::string own_name(const char* kind) {
  static int number = 0;
  return fmt::format("/tandem-bench-{}-{}-{}", kind, ::getpid(), number++);
}

class mq_lane final : public lane {
 public:
  explicit mq_lane(std::size_t size) {
    const std::string name = own_name("mq");
    mq_attr attributes{};
    attributes.mq_maxmsg = 10;
    attributes.mq_msgsize = static_cast<long>(size);
    queue_ = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    require(queue_ >= 0, "mq_open");
    ::mq_unlink(name.c_str());
  }
  ~mq_lane() override { ::mq_close(queue_); }
  void push(bytes m) override {
    require(::mq_send(queue_, reinterpret_cast<const char*>(m.data()), m.size(), 0) == 0, "mq_send");
  }
  void pop(bytes m) override {
    require(::mq_receive(queue_, reinterpret_cast<char*>(m.data()), m.size(), nullptr) >= 0, "mq_receive");
  }

 private:
  mqd_t queue_;
};

// ---- others -------------------------------------------------------------------------------------------------------------

class boost_lane final : public lane {
  using queue = boost::interprocess::message_queue;

 public:
  boost_lane(std::size_t size, std::size_t capacity) : name_(own_name("boost").substr(1)) {
    queue_.emplace(boost::interprocess::create_only, name_.c_str(), capacity, size);
    queue::remove(name_.c_str());
  }
  void push(bytes m) override { queue_->send(m.data(), m.size(), 0); }
  void pop(bytes m) override {
    queue::size_type size = 0;
    unsigned priority = 0;
    queue_->receive(m.data(), m.size(), size, priority);
  }

 private:
  std::string name_;
  std::optional<queue> queue_;
};

#if TANDEM_BENCH_ZMQ
class zmq_lane final : public lane {
 public:
  zmq_lane() : address_("ipc://@" + own_name("zmq")) {}
  ~zmq_lane() override {
    if (socket_ != nullptr) ::zmq_close(socket_);
    if (context_ != nullptr) ::zmq_ctx_destroy(context_);
  }
  void begin(bool pushes) override {
    context_ = ::zmq_ctx_new();
    socket_ = ::zmq_socket(context_, ZMQ_PAIR);
    const int now = 0;
    ::zmq_setsockopt(socket_, ZMQ_LINGER, &now, sizeof now);
    require((pushes ? ::zmq_bind(socket_, address_.c_str()) : ::zmq_connect(socket_, address_.c_str())) == 0, "zmq");
  }
  void push(bytes m) override { require(::zmq_send(socket_, m.data(), m.size(), 0) >= 0, "zmq_send"); }
  void pop(bytes m) override { require(::zmq_recv(socket_, m.data(), m.size(), 0) >= 0, "zmq_recv"); }

 private:
  std::string address_;
  void* context_ = nullptr;
  void* socket_ = nullptr;
};
#endif

#if TANDEM_BENCH_NNG
class nng_lane final : public lane {
 public:
  nng_lane() : address_("abstract:/" + own_name("nng")) {}
  ~nng_lane() override { ::nng_close(socket_); }
  void begin(bool pushes) override {
    require(::nng_pair0_open(&socket_) == 0, "nng_pair0_open");
    ::nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0);
    require((pushes ? ::nng_listen(socket_, address_.c_str(), nullptr, 0)
                    : ::nng_dial(socket_, address_.c_str(), nullptr, NNG_FLAG_NONBLOCK)) == 0,
            "nng");
  }
  void push(bytes m) override { require(::nng_send(socket_, m.data(), m.size(), 0) == 0, "nng_send"); }
  void pop(bytes m) override {
    std::size_t size = m.size();
    require(::nng_recv(socket_, m.data(), &size, 0) == 0, "nng_recv");
  }

 private:
  std::string address_;
  nng_socket socket_{};
};
#endif

#if TANDEM_BENCH_ICEORYX
/// Copied into its chunk, and out of it, as the others do; who pushes waits for who pops. The daemon iox-roudi runs.
class iceoryx_lane final : public lane {
 public:
  iceoryx_lane(std::size_t size, bool sleeps) : size_(size), sleeps_(sleeps), name_(own_name("iox").substr(1)) {}
  ~iceoryx_lane() override {
    if (subscriber_ && sleeps_) waits_->detachState(*subscriber_, iox::popo::SubscriberState::HAS_DATA);
  }
  void begin(bool pushes) override {
    static const bool begun = [] {
      const std::string name = own_name("runtime").substr(1);
      iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
      return true;
    }();
    static_cast<void>(begun);
    const iox::capro::IdString_t id(iox::cxx::TruncateToCapacity, name_.c_str());
    const iox::capro::ServiceDescription service("tandem", "bench", id);
    if (pushes) {
      iox::popo::PublisherOptions options;
      options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
      publisher_.emplace(service, options);
      while (!publisher_->hasSubscribers()) std::this_thread::yield();
      return;
    }
    iox::popo::SubscriberOptions options;
    options.queueCapacity = most_waiting;
    options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    subscriber_.emplace(service, options);
    if (!sleeps_) return;
    waits_.emplace();
    require(!waits_->attachState(*subscriber_, iox::popo::SubscriberState::HAS_DATA).has_error(), "iceoryx");
  }
  void push(bytes m) override {
    auto chunk = publisher_->loan(static_cast<std::uint32_t>(size_));
    require(!chunk.has_error(), "iceoryx");
    std::memcpy(chunk.value(), m.data(), size_);
    publisher_->publish(chunk.value());
  }
  void pop(bytes m) override {
    for (;;) {
      auto chunk = subscriber_->take();
      if (!chunk.has_error()) {
        std::memcpy(m.data(), chunk.value(), size_);
        subscriber_->release(chunk.value());
        return;
      }
      sleeps_ ? static_cast<void>(waits_->wait()) : __builtin_ia32_pause();
    }
  }

 private:
  static constexpr std::uint64_t most_waiting = 8;  // its daemon has ten chunks for messages of 1 MiB
  std::size_t size_;
  bool sleeps_;
  std::string name_;
  std::optional<iox::popo::UntypedPublisher> publisher_;
  std::optional<iox::popo::UntypedSubscriber> subscriber_;
  std::optional<iox::popo::WaitSet<>> waits_;
};
#endif

// ---- the limits -----------------------------------------------------------------------------------------------------------

/// Slots with a sequence number, for one who pushes and one who pops; waits by spinning, or by a futex alone.
class raw_lane final : public lane {
 public:
  raw_lane(std::size_t size, std::size_t capacity, bool sleeps)
      : size_(size), capacity_(std::bit_ceil(capacity)), stride_((size + 64 + 63) / 64 * 64), sleeps_(sleeps) {
    memory_ = static_cast<std::byte*>(
        ::mmap(nullptr, capacity_ * stride_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
    require(memory_ != MAP_FAILED, "mmap");
  }
  ~raw_lane() override { ::munmap(memory_, capacity_ * stride_); }
  void push(bytes m) override {
    std::atomic<std::uint32_t>& turn = at(tail_);
    const auto round = static_cast<std::uint32_t>(2 * (tail_ / capacity_));
    wait(turn, round);
    std::memcpy(payload(tail_++), m.data(), m.size());
    go(turn, round + 1);
  }
  void pop(bytes m) override {
    std::atomic<std::uint32_t>& turn = at(head_);
    const auto round = static_cast<std::uint32_t>(2 * (head_ / capacity_) + 1);
    wait(turn, round);
    std::memcpy(m.data(), payload(head_++), m.size());
    go(turn, round + 1);
  }

 private:
  std::byte* slot(std::size_t i) const { return memory_ + i % capacity_ * stride_; }
  std::atomic<std::uint32_t>& at(std::size_t i) const {
    return *reinterpret_cast<std::atomic<std::uint32_t>*>(slot(i));
  }
  std::byte* payload(std::size_t i) const { return slot(i) + (size_ > 48 ? 64 : 8); }
  void wait(std::atomic<std::uint32_t>& turn, std::uint32_t round) {
    for (;;) {
      const std::uint32_t seen = turn.load(std::memory_order_acquire);
      if (seen == round) return;
      if (!sleeps_) {
        __builtin_ia32_pause();
        continue;
      }
      (&turn)[1].store(1);
      if (turn.load() == seen) ::syscall(SYS_futex, &turn, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
  }
  void go(std::atomic<std::uint32_t>& turn, std::uint32_t round) {
    turn.exchange(round);
    if (sleeps_ && (&turn)[1].load() != 0 && (&turn)[1].exchange(0) != 0)
      ::syscall(SYS_futex, &turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  std::size_t size_, capacity_, stride_;
  bool sleeps_;
  std::byte* memory_ = nullptr;
  std::size_t tail_ = 0, head_ = 0;
};

// ---- tandem ---------------------------------------------------------------------------------------------------------------

template <std::size_t N>
class queue_lane final : public lane {
  using message = std::array<std::byte, N>;

 public:
  explicit queue_lane(std::size_t capacity) : queue_(capacity) {}
  void push(bytes m) override { queue_.push(*reinterpret_cast<const message*>(m.data())); }
  void pop(bytes m) override {
    const auto got = queue_.pop();
    std::memcpy(m.data(), got->data(), std::min<std::size_t>(N, 8));
  }

 private:
  tandem::queue<message> queue_;
};

/// Written into its place, and read there.
template <std::size_t N>
class loan_lane final : public lane {
  using message = std::array<std::byte, N>;

 public:
  explicit loan_lane(std::size_t capacity) : queue_(capacity) {}
  void push(bytes m) override {
    auto place = queue_.loan();
    std::memcpy(place->data(), m.data(), N);
    place.push();
  }
  void pop(bytes m) override {
    const auto view = queue_.view();
    std::memcpy(m.data(), (*view)->data(), 1);
  }

 private:
  tandem::queue<message> queue_;
};

class vector_lane final : public lane {
 public:
  vector_lane(std::size_t size, std::size_t capacity) : queue_(capacity, {.bytes = capacity * (size + 64)}) {}
  void push(bytes m) override { queue_.push({m.begin(), m.end()}); }
  void pop(bytes m) override {
    const auto got = queue_.pop();
    std::memcpy(m.data(), got->data(), std::min<std::size_t>(got->size(), 8));
  }

 private:
  tandem::queue<std::vector<std::byte>> queue_;
};

// ---- between threads --------------------------------------------------------------------------------------------------

#if TANDEM_BENCH_TBB
template <std::size_t N>
class tbb_lane final : public lane {
  using message = std::array<std::byte, N>;

 public:
  explicit tbb_lane(std::size_t capacity) { queue_.set_capacity(static_cast<std::ptrdiff_t>(capacity)); }
  void push(bytes m) override { queue_.push(*reinterpret_cast<const message*>(m.data())); }
  void pop(bytes m) override { queue_.pop(*reinterpret_cast<message*>(m.data())); }

 private:
  tbb::concurrent_bounded_queue<message> queue_;
};
#endif

#if TANDEM_BENCH_MOODYCAMEL
/// Not bounded: whoever pushes never waits.
template <std::size_t N>
class moodycamel_lane final : public lane {
  using message = std::array<std::byte, N>;

 public:
  void push(bytes m) override { queue_.enqueue(*reinterpret_cast<const message*>(m.data())); }
  void pop(bytes m) override { queue_.wait_dequeue(*reinterpret_cast<message*>(m.data())); }

 private:
  moodycamel::BlockingConcurrentQueue<message> queue_;
};
#endif

}  // namespace bench
