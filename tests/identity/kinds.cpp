// Calls one function of each kind in a worker process, and compares what came of it with the table of docs/functions.md.
// Built and run once for each column of that table (build.cmake):
//
//   kinds DOCUMENT COLUMN
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <tandem/init.hpp>
#include <tandem/process.hpp>

#if !defined(IDENTITY_STATIC)
extern "C" int identity_scaled(int);  // of the library that is linked
#endif

namespace {

using function = int (*)(int);

int call(function f, int n) { return tandem::process(f, n).get(); }

}  // namespace

// ---- functions of the program -------------------------------------------------------------------------------------

int free_function(int n) { return n + 1; }

namespace {
int anonymous_function(int n) { return n + 2; }

struct holder {
  static int static_member(int n) { return n + 3; }
  int plain(int n) const { return base + n; }
  int base = 10;
};

template <int By>
int template_instance(int n) {
  return n * By;
}

// Functions of one body each: a linker may make one of two, and one name of two then.
[[gnu::noinline]] int folded_one(int n) { return n * 7 + 5; }
[[gnu::noinline]] int folded_two(int n) { return n * 7 + 5; }

struct empty_object {
  int operator()(int n) const { return n + 4; }
};
struct object_with_state {
  std::string word;
  int operator()(int n) const { return static_cast<int>(word.size()) + n; }
};
}  // namespace

inline int inline_function(int n) { return n + 5; }
inline int starts_a_lambda() {
  return tandem::process([](int n) { return n + 6; }, 1).get();
}

// ---- classes with virtual functions -------------------------------------------------------------------------------

struct animal {
  virtual ~animal() = default;
  virtual int legs(int n) const { return n; }
  int age = 1;
};
struct machine {
  virtual ~machine() = default;
  int power(int n) const { return weight * n; }
  virtual int wheels(int n) const { return n; }
  int weight = 3;
};
struct centaur : animal, machine {
  int legs(int n) const override { return 4 * n; }
  int wheels(int n) const override { return weight * 1000 + n; }
};

template <>
struct tandem::transfer<animal> {
  static void write(writer& w, const animal& a) { w(a.age); }
  static animal read(reader& r) {
    animal a;
    r(a.age);
    return a;
  }
};
template <>
struct tandem::transfer<centaur> {
  static void write(writer& w, const centaur& c) {
    w(c.age);
    w(c.weight);
  }
  static centaur read(reader& r) {
    centaur c;
    r(c.age);
    r(c.weight);
    return c;
  }
};

// ---- libraries ----------------------------------------------------------------------------------------------------

namespace {

namespace fs = std::filesystem;

#if !defined(IDENTITY_STATIC)
fs::path beside_this_program(const std::string& name) {
  return fs::read_symlink("/proc/self/exe").parent_path() / name;
}

void* open(const std::string& path) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(std::string("dlopen: ") + ::dlerror());
  return library;
}

template <class T = int(int)>
T* symbol(void* library, const char* name) {
  void* found = ::dlsym(library, name);
  if (found == nullptr) throw std::runtime_error(std::string("dlsym: ") + ::dlerror());
  return reinterpret_cast<T*>(found);
}

// A copy of its own, which a test may replace on disk.
fs::path copied(const std::string& name, const std::string& as) {
  fs::path copy = beside_this_program(as);
  fs::remove(copy);
  fs::copy_file(beside_this_program(name), copy);
  return copy;
}

void replace_by_another_build(const fs::path& library) { fs::rename(copied("libother_build.so", "next.so"), library); }

// Those that are there when the fork server is made.
struct early_libraries {
  void* plain = open(beside_this_program("libearly.so"));
  void* first_copy = open(copied("libearly.so", "first_copy.so"));
  void* second_copy = open(copied("libearly.so", "second_copy.so"));
  void* replaced = open(copied("libearly.so", "early_replaced.so"));
  void* nameless = open(beside_this_program("libnameless.so"));
  early_libraries() {
    symbol<void(int)>(first_copy, "identity_set")(10);
    symbol<void(int)>(second_copy, "identity_set")(20);
  }
};
const early_libraries* early = nullptr;

int call_in(void* library, int n) { return call(symbol(library, "identity_scaled"), n); }

int relative_path() {
  const fs::path before = fs::current_path();
  fs::current_path(beside_this_program(""));  // the workers are somewhere else
  void* library = open("./" + copied("liblate.so", "relative.so").filename().string());
  fs::current_path(before);
  return call_in(library, 9);
}

int replaced_after_init() {
  const fs::path path = copied("liblate_replaced.so", "late_replaced.so");
  void* library = open(path);
  replace_by_another_build(path);
  return call_in(library, 1);
}

int removed_after_init() {
  const fs::path path = copied("liblate_removed.so", "late_removed.so");
  void* library = open(path);
  fs::remove(path);
  return call_in(library, 1);
}

int replaced_before_use() {
  replace_by_another_build(beside_this_program("early_replaced.so"));
  return call_in(early->replaced, 2);
}

int in_one_of_two_copies() {
  const int first = call(symbol(early->first_copy, "identity_stateful"), 1);
  const int second = call(symbol(early->second_copy, "identity_stateful"), 1);
  return 100 * first + second;
}
#endif

// ---- the kinds ----------------------------------------------------------------------------------------------------

int identical_bodies() {
  // Compared as numbers that the compiler cannot know: to it, two functions have two addresses.
  volatile std::uintptr_t one = reinterpret_cast<std::uintptr_t>(&folded_one);
  volatile std::uintptr_t two = reinterpret_cast<std::uintptr_t>(&folded_two);
  std::printf("functions with one body %s one address\n", one == two ? "have" : "do not have");
#if defined(IDENTITY_FOLDED)
  if (one != two) throw std::logic_error("this linker was to fold them");
#endif
  const int lambdas =
      tandem::process([](int n) { return n * 9; }, 1).get() + tandem::process([](int n) { return n * 9; }, 10).get();
  return 10000 * lambdas + 100 * call(folded_one, 1) + call(folded_two, 2);
}

int made_at_run_time() {
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* code = ::mmap(nullptr, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) throw std::runtime_error("mmap");
  return call(reinterpret_cast<function>(code), 1);  // zeros, which nobody may reach
}

struct kind {
  const char* name;
  int (*run)();
  int expected;
};

const kind of_the_program[] = {
    {"a free function", [] { return call(free_function, 1); }, 2},
    {"a function in an anonymous namespace", [] { return call(anonymous_function, 1); }, 3},
    {"a static member function", [] { return call(holder::static_member, 1); }, 4},
    {"an inline function", [] { return call(inline_function, 1); }, 6},
    {"an instance of a function template", [] { return call(template_instance<6>, 7); }, 42},
    {"a lambda without captures", [] { return tandem::process([](int n) { return n - 1; }, 8).get(); }, 7},
    {"a lambda in an inline function", starts_a_lambda, 7},
    {"a generic lambda", [] { return tandem::process([](auto n) { return n + n; }, 8).get(); }, 16},
    {"a lambda, as a function pointer", [] { return call([](int n) { return n - 2; }, 8); }, 6},
    {"a member function, with its object", [] { return tandem::process(&holder::plain, holder{20}, 2).get(); }, 22},
    {"a virtual function, of the base", [] { return tandem::process(&animal::legs, animal(), 5).get(); }, 5},
    {"a virtual function, of the derived class", [] { return tandem::process(&animal::legs, centaur(), 5).get(); }, 20},
    {"a member function of a second base", [] { return tandem::process(&machine::power, centaur(), 5).get(); }, 15},
    {"the same, as one of the derived class",
     [] { return tandem::process(static_cast<int (centaur::*)(int) const>(&machine::power), centaur(), 6).get(); }, 18},
    {"a virtual function of a second base",
     [] { return tandem::process(static_cast<int (centaur::*)(int) const>(&machine::wheels), centaur(), 7).get(); },
     3007},
    {"a pointer to a data member", [] { return tandem::process<int>(&holder::base, holder{33}).get(); }, 33},
    {"an empty function object", [] { return tandem::process(empty_object(), 1).get(); }, 5},
    {"a transferable function object", [] { return tandem::process(object_with_state{"four"}, 1).get(); }, 5},
    {"`tandem::unchecked_capture(lambda)`",
     [] { return tandem::process(tandem::unchecked_capture([by = 3](int n) { return n * by; }), 4).get(); }, 12},
    {"two functions with one body", identical_bodies, 991219},
};

const kind of_others[] = {
    {"a function of libc", [] { return call(::abs, -5); }, 5},
    {"a function that libm chooses at run time",
     [] { return static_cast<int>(tandem::process(static_cast<double (*)(double)>(::sin), 0.0).get()); }, 0},
    {"code made at run time (`mmap`)", made_at_run_time, 0},
    {"a null pointer", [] { return call(nullptr, 1); }, 0},
#if defined(IDENTITY_STATIC)
    {"in a library that is linked", nullptr, 0},
    {"in a library opened before `init`", nullptr, 0},
    {"in one replaced on disk since", nullptr, 0},
    {"in each of two copies of a library", nullptr, 0},
    {"in a library opened after `init`", nullptr, 0},
    {"in one opened by a relative path", nullptr, 0},
    {"in one replaced on disk by another build", nullptr, 0},
    {"in one removed from the disk", nullptr, 0},
    {"in a library without a build-id", nullptr, 0},
    {"a pointer from `dlsym`", nullptr, 0},
#else
    {"in a library that is linked", [] { return call(identity_scaled, 1); }, 101},
    {"in a library opened before `init`", [] { return call_in(early->plain, 2); }, 202},
    {"in one replaced on disk since", replaced_before_use, 202},
    {"in each of two copies of a library", in_one_of_two_copies, 1121},
    {"in a library opened after `init`", [] { return call_in(open(beside_this_program("liblate.so")), 3); }, 303},
    {"in one opened by a relative path", relative_path, 309},
    {"in one replaced on disk by another build", replaced_after_init, 0},
    {"in one removed from the disk", removed_after_init, 0},
    {"in a library without a build-id", [] { return call_in(early->nameless, 1); }, 0},
    {"a pointer from `dlsym`", [] { return call(symbol(RTLD_DEFAULT, "abs"), -6); }, 6},
#endif
};

// ---- the table ----------------------------------------------------------------------------------------------------

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  for (std::size_t at = 0; line.starts_with("|");) {
    const std::size_t end = line.find('|', at + 1);
    if (end == std::string::npos) break;
    const std::string cell = line.substr(at + 1, end - at - 1);
    const std::size_t first = cell.find_first_not_of(' ');
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, cell.find_last_not_of(' ') + 1 - first));
    at = end;
  }
  return cells;
}

// The rows of the table whose first heading is that: each row's first cell, and its cell of `column`.
std::map<std::string, std::string> rows_of(const std::string& document, const char* heading,
                                           const std::string& column) {
  std::map<std::string, std::string> rows;
  std::ifstream file(document);
  std::size_t wanted = 0;
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = cells_of(line);
    if (wanted == 0) {
      if (cells.empty() || cells[0] != heading) continue;
      for (std::size_t i = 1; i < cells.size(); ++i) wanted = cells[i] == column ? i : wanted;
      if (wanted == 0) break;
    } else if (cells.size() <= wanted) {
      break;
    } else {
      rows[cells[0]] = cells[wanted];
    }
  }
  return rows;
}

struct outcome {
  std::string cell;  // as in the table, with a whole sentence for a refusal
  bool refused = false;
};

outcome outcome_of(const kind& k) {
  if (k.run == nullptr) return {"–"};
  try {
    const int got = k.run();
    if (got == k.expected) return {"✓"};
    return {"wrong: " + std::to_string(got) + " instead of " + std::to_string(k.expected)};
  } catch (const tandem::worker_died& e) {
    return {std::string("died: ") + e.what()};
  } catch (const tandem::error& e) {
    return {e.what(), true};
  } catch (const std::invalid_argument& e) {
    return {e.what(), true};
  } catch (const std::exception& e) {
    return {std::string("unexpected: ") + e.what()};
  }
}

int differences = 0;

void compare(const kind& k, std::map<std::string, std::string>& table,
             const std::map<std::string, std::string>& marks) {
  const outcome seen = outcome_of(k);
  const auto row = table.extract(k.name);
  const std::string expected = row ? row.mapped() : "(no row of docs/functions.md)";
  bool same = !seen.refused && expected == seen.cell;
  if (const auto mark = marks.find(expected); seen.refused && mark != marks.end()) {
    const std::string fragment = mark->second.substr(1, mark->second.size() - 2);  // between quotation marks
    same = fragment.size() > 10 && seen.cell.find(fragment) != std::string::npos;
  }
  std::printf("%-42s %s%s\n", k.name, seen.refused ? "refused: " : "", seen.cell.c_str());
  if (same) return;
  std::printf("    but the table says: %s\n", expected.c_str());
  ++differences;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::map<std::string, std::string> table = rows_of(argv[1], "what is called", argv[2]);
  const std::map<std::string, std::string> marks = rows_of(argv[1], "mark", "in the sentence");
  table.erase("---");
  try {
#if !defined(IDENTITY_STATIC)
    early = new early_libraries;
#endif
    tandem::init();
  } catch (const std::exception& e) {
    std::printf("unexpected: %s\n", e.what());
    return 1;
  }
  for (const kind& k : of_the_program) compare(k, table, marks);
  for (const kind& k : of_others) compare(k, table, marks);
  for (const auto& [name, cell] : table) {
    std::printf("only in the table: %s\n", name.c_str());
    ++differences;
  }
  return differences == 0 ? 0 : 1;
}
