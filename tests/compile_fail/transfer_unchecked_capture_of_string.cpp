// expect: what is captured must be trivially copyable
#include <string>

#include <tandem/transfer.hpp>

auto f(std::string text) {
  return tandem::unchecked_capture([text] { return text.size(); });
}
