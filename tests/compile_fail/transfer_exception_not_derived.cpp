// expect: types derived from std::exception
#include <tandem/transfer.hpp>

struct failure {
  int code;
};

void start() { tandem::register_exception<failure>(); }
