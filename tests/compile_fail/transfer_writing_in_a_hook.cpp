// expect: a raw pointer cannot cross
// expect: refused<int\*>
#include <tandem/transfer.hpp>

class job {
 public:
  int* p = nullptr;
  job() {}
};

template <>
struct tandem::transfer<job> {
  static void write(writer& w, const job& j) { w(j.p); }
  static job read(reader&) { return {}; }
};
