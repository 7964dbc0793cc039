// A connection of tandem in the loop of Boost.Asio: its descriptor is readable exactly while it has something to receive.
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>

#include <fmt/format.h>
#include <tandem/tandem.hpp>

namespace {

using namespace std::chrono_literals;
using question = int;
using answer = std::string;

void ask(const tandem::connection<question, answer>& c) {
  for (int n = 1; n <= 3; ++n) {
    c.send(n);
    fmt::print("{} is {}\n", n, c.receive().value());
  }
}

// snippet: connection
/// Answers from within the loop, until the other side closes.
class server {
 public:
  server(boost::asio::io_context& loop, tandem::connection<answer, question> c)
      : connection_(std::move(c)), readable_(loop, connection_.native_handle()) {
    wait();
  }
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server() { readable_.release(); }  // the descriptor is the connection's

 private:
  void wait() {
    readable_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code failed) {
      if (failed) return;
      while (connection_.poll()) {
        const auto n = connection_.receive();
        if (!n) return;  // closed: nothing more to wait for
        connection_.send(*n % 2 == 0 ? "even" : "odd");
      }
      wait();
    });
  }

  tandem::connection<answer, question> connection_;
  boost::asio::posix::stream_descriptor readable_;
};
// snippet end

}  // namespace

int main() {
  tandem::init();
  auto [here, there] = tandem::make_duplex<answer, question>();
  tandem::process asker(ask, std::move(there));
  there.close();
  boost::asio::io_context loop;
  const server s(loop, std::move(here));
  loop.run();
  asker.get();
}
