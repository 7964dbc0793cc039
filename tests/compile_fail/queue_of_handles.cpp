// expect: the messages of a queue lie in shared memory, which cannot carry descriptors
#include <string>
#include <vector>

#include <tandem/queue.hpp>

struct job {
  std::string name = {};
  std::vector<tandem::file_descriptor> files = {};
};

void make() { tandem::queue<job> jobs(4); }
