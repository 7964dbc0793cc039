// Functions by name, in this process and in another image of this program.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <thread>

#include <tandem/detail/transfer_callable.hpp>
#include "os/modules.hpp"

namespace {

using namespace tandem::detail;
using bytes = std::vector<std::byte>;

template <class F>
bytes name_of(const F& f) {
  tandem::writer w;
  write_callable(w, f);
  return take_bytes(std::move(w));
}

template <class F>
F found(const bytes& name) {
  auto r = make_reader(name);
  F f = read_callable<F>(r);
  finish(r);
  return f;
}

template <class F>
F there_and_back(const F& f) {
  return found<F>(name_of(f));
}

int add(int a, int b) { return a + b; }
int twice(int x) noexcept { return 2 * x; }

struct base {
  virtual ~base() = default;
  virtual int number() const { return 1; }
  virtual int other(int x) { return x; }
  int plain(int x) const { return x + value; }
  int value = 10;
};
struct second_base {
  virtual ~second_base() = default;
  virtual int more() { return 100; }
  int weight = 5;
};
struct derived : base, second_base {
  int number() const override { return 2; }
  int more() override { return 200; }
};

std::filesystem::path plugin_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / TANDEM_TEST_PLUGIN;
}

struct plugin {
  plugin() : library(dlopen(plugin_path().c_str(), RTLD_NOW)) {}
  ~plugin() {
    if (library != nullptr) dlclose(library);
  }
  using function = int (*)(int);
  function get(const char* name) const { return reinterpret_cast<function (*)()>(dlsym(library, name))(); }
  void* library;
};

TEST(code, functions_of_the_program) {
  EXPECT_EQ(there_and_back(&add)(2, 3), 5);
  EXPECT_EQ(there_and_back(&twice)(4), 8);
  int (*lambda)(int) = [](int x) { return x - 1; };
  EXPECT_EQ(there_and_back(lambda), lambda);
}

TEST(code, the_name_is_the_build_id_and_the_offset) {
  const bytes name = name_of(&add);
  const auto& program = tandem::os::program();
  ASSERT_FALSE(program.build_id.empty());
  EXPECT_EQ(name.size(), 1 + program.build_id.size() + 8 + 8);
  EXPECT_TRUE(program.path.empty());
}

TEST(code, functions_of_libraries) {
  EXPECT_EQ(there_and_back(static_cast<std::size_t (*)(const char*)>(&std::strlen))("four"), 4U);
  const plugin p;
  ASSERT_NE(p.library, nullptr) << dlerror();
  EXPECT_EQ(there_and_back(p.get("plugin_function"))(5), 15);
  EXPECT_EQ(there_and_back(p.get("plugin_lambda"))(5), 2);
}

TEST(code, a_library_that_is_not_loaded_is_loaded) {
  bytes name;
  {
    const plugin p;
    ASSERT_NE(p.library, nullptr) << dlerror();
    name = name_of(p.get("plugin_function"));
  }
  EXPECT_EQ(dlopen(plugin_path().c_str(), RTLD_NOW | RTLD_NOLOAD), nullptr);
  EXPECT_EQ(found<plugin::function>(name)(7), 21);
}

TEST(code, a_library_that_was_unloaded_is_not_remembered) {
  for (int i = 0; i < 3; ++i) {
    const plugin p;
    ASSERT_NE(p.library, nullptr) << dlerror();
    EXPECT_EQ(there_and_back(p.get("plugin_function"))(i), 3 * i);
  }
}

TEST(code, an_unknown_build_id_is_refused_with_advice) {
  bytes name = name_of(&add);
  name[3] ^= std::byte{1};
  try {
    found<decltype(&add)>(name);
    FAIL();
  } catch (const tandem::error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("same build"));
  }
}

TEST(code, another_build_of_a_library_is_not_loaded) {
  bytes name;
  {
    const plugin p;
    name = name_of(p.get("plugin_function"));
  }
  name[3] ^= std::byte{1};
  EXPECT_THROW(found<plugin::function>(name), tandem::error);
}

TEST(code, offsets_outside_the_code_are_refused) {
  const bytes good = name_of(&add);
  const std::size_t at = good.size() - 16;
  for (const std::uint64_t offset : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 40}) {
    bytes bad = good;
    std::memcpy(bad.data() + at, &offset, sizeof offset);
    EXPECT_THROW(found<decltype(&add)>(bad), tandem::decode_error);
  }
}

TEST(code, addresses_that_are_no_code_are_refused) {
  static int variable = 0;
  tandem::writer w;
  EXPECT_THROW(write_code(w, &variable), tandem::error);
  EXPECT_THROW(write_code(w, std::make_unique<int>().get()), tandem::error);
  EXPECT_THROW(name_of(static_cast<int (*)(int)>(nullptr)), std::invalid_argument);
  EXPECT_THROW(name_of(static_cast<int (base::*)(int) const>(nullptr)), std::invalid_argument);
  EXPECT_THROW(name_of(static_cast<int base::*>(nullptr)), std::invalid_argument);
}

TEST(code, truncated_names_are_refused) {
  for (const bytes& name : {name_of(&add), name_of(&base::plain), name_of(&base::other), name_of(&base::value)}) {
    for (std::size_t size = 0; size < name.size(); ++size) {
      auto r = make_reader({name.data(), size});
      EXPECT_THROW((name == name_of(&add)           ? void(read_callable<decltype(&add)>(r))
                    : name == name_of(&base::value) ? void(read_callable<int base::*>(r))
                                                    : void(read_callable<int (base::*)(int)>(r))),
                   tandem::decode_error);
    }
  }
}

TEST(code, from_many_threads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(there_and_back(&add)(i, 1), i + 1);
        EXPECT_EQ(there_and_back(static_cast<std::size_t (*)(const char*)>(&std::strlen))("four"), 4U);
      }
    });
  }
  for (auto& t : threads) t.join();
}

// ---- pointers to members ----

TEST(member_pointers, of_functions) {
  const base b;
  const derived d;
  const auto plain = there_and_back(&base::plain);
  EXPECT_EQ((b.*plain)(1), 11);
  const auto number = there_and_back(&base::number);
  EXPECT_EQ((b.*number)(), 1);
  EXPECT_EQ((d.*number)(), 2);
  const auto other = there_and_back(&base::other);
  derived e;
  EXPECT_EQ((e.*other)(9), 9);
}

TEST(member_pointers, that_adjust_this) {
  derived d;
  const auto more = there_and_back(static_cast<int (derived::*)()>(&second_base::more));
  EXPECT_EQ((d.*more)(), 200);
  const auto weight = there_and_back(static_cast<int derived::*>(&second_base::weight));
  EXPECT_EQ(d.*weight, 5);
}

TEST(member_pointers, to_data) {
  base b;
  b.value = 77;
  EXPECT_EQ(b.*there_and_back(&base::value), 77);
}

TEST(member_pointers, outside_their_class_are_refused) {
  EXPECT_THROW(found<int base::*>(tandem::encode(std::ptrdiff_t{1000})), tandem::decode_error);
  EXPECT_THROW(found<int base::*>(tandem::encode(std::ptrdiff_t{-1})), tandem::decode_error);
}

// ---- objects ----

struct adder {
  int by = 0;
  int operator()(int x) const { return x + by; }
};

TEST(callables, that_are_empty_take_no_bytes) {
  const auto lambda = [](int x) { return x + 1; };
  EXPECT_TRUE(name_of(lambda).empty());
  EXPECT_EQ(there_and_back(lambda)(1), 2);
  const auto with_default = [=](int x) { return x + 2; };  // has no default constructor
  static_assert(!std::is_default_constructible_v<decltype(with_default)>);
  EXPECT_EQ(there_and_back(with_default)(1), 3);
  const auto generic = [](auto x) { return x; };
  EXPECT_EQ(there_and_back(generic)(4), 4);
  EXPECT_EQ(there_and_back(std::plus<>())(1, 2), 3);
}

TEST(callables, that_are_transferable_cross_by_value) {
  EXPECT_EQ(there_and_back(adder{5})(1), 6);
  EXPECT_EQ(there_and_back(tandem::unchecked_capture([n = 7](int x) { return x * n; }))(2), 14);
}

// What takes no stop_token must say so, and not fail to compile.
[[maybe_unused]] const auto carried_as_memory = tandem::unchecked_capture([n = 7](int x) { return x * n; });
static_assert(std::is_invocable_v<decltype(carried_as_memory), int>);
static_assert(!std::is_invocable_v<decltype(carried_as_memory), std::stop_token, int>);

int captured = 0;
[[maybe_unused]] const auto capturing = [n = 1] { return n + captured; };
static_assert(!transferable_callable<std::remove_const_t<decltype(capturing)>>);
static_assert(!transferable_callable<std::function<void()>>);
static_assert(!transferable_callable<std::reference_wrapper<adder>>);

// ---- another image of this program ----

std::string in_hexadecimal(const bytes& b) {
  std::string text;
  for (const std::byte x : b) {
    text += static_cast<char>('a' + (std::to_integer<int>(x) >> 4));
    text += static_cast<char>('a' + (std::to_integer<int>(x) & 15));
  }
  return text;
}

bytes from_hexadecimal(const char* text) {
  bytes b;
  for (; text[0] != 0; text += 2) b.push_back(static_cast<std::byte>((text[0] - 'a') << 4 | (text[1] - 'a')));
  return b;
}

constexpr const char* name_variable = "TANDEM_TEST_FUNCTION";
constexpr const char* member_variable = "TANDEM_TEST_MEMBER";

/// Runs this program again, with another address layout, to call what was named; its exit status is the result.
int call_in_another_image(const char* variable, const std::string& name) {
  ::setenv(variable, name.c_str(), 1);
  std::string program = std::filesystem::read_symlink("/proc/self/exe");
  std::string filter = "--gtest_filter=another_image.is_run";
  char* const arguments[] = {program.data(), filter.data(), nullptr};
  pid_t child = 0;
  EXPECT_EQ(::posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environ), 0);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::unsetenv(variable);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(another_image, is_run) {
  if (const char* name = std::getenv(name_variable)) {
    ::_exit(found<int (*)(int)>(from_hexadecimal(name))(20));
  } else if (const char* member_name = std::getenv(member_variable)) {
    derived d;
    ::_exit((d.*found<int (base::*)() const>(from_hexadecimal(member_name)))());
  }
}

TEST(another_image, finds_the_functions_of_the_program) {
  EXPECT_EQ(call_in_another_image(name_variable, in_hexadecimal(name_of(static_cast<int (*)(int)>(&twice)))), 40);
}

TEST(another_image, finds_the_functions_of_a_library_that_it_must_load) {
  const plugin p;
  ASSERT_NE(p.library, nullptr) << dlerror();
  EXPECT_EQ(call_in_another_image(name_variable, in_hexadecimal(name_of(p.get("plugin_function")))), 60);
}

TEST(another_image, finds_virtual_functions) {
  EXPECT_EQ(call_in_another_image(member_variable, in_hexadecimal(name_of(&base::number))), 2);
}

}  // namespace
