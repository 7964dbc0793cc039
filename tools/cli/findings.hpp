#pragma once
// What `tandem doctor` finds: sections of rows. Each function makes one section; none of them throws for what it finds.
#include <string>
#include <vector>

#include "kernel/child.hpp"

namespace cli {

enum class answer { yes, no, limited, value };

struct finding {
  std::string name;
  answer is = answer::value;
  std::string value = {};    // how much; or why not
  std::string meaning = {};  // one sentence for the user of tandem
  bool needed = false;       // without it, tandem does not work here
};

struct section {
  std::string title;
  std::vector<finding> rows;
};

section kernel_calls();
section fences();
section control_groups();
section memory();
section limits();
section start_methods();

// ---- for those who make them
enum class need { required, optional };

/// Something that was tried, with what it means if it worked and if it did not.
struct trial {
  const char* name;
  kernel::probe what;
  const char* if_it_works;
  const char* if_not;
  need how_much = need::optional;
};
finding found_by(const trial&);

}  // namespace cli
