// Exceptions: thrown, encoded, decoded, and compared by type and text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <any>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <regex>
#include <typeinfo>
#include <variant>

#include <tandem/transfer.hpp>
#include "transfer/exception_codec.hpp"

namespace {

using tandem::detail::encode_exception;
using tandem::detail::rethrow_encoded;
using bytes = std::vector<std::byte>;

template <class Throw>
std::exception_ptr thrown_by(Throw f) {
  try {
    f();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

bytes encoded(const std::exception_ptr& e) {
  bytes b;
  encode_exception(b, e);
  return b;
}

std::exception_ptr sent(const std::exception_ptr& e) {
  const bytes b = encoded(e);
  return thrown_by([&] { rethrow_encoded(b); });
}

struct seen {
  std::string type;
  std::string text;
  bool operator==(const seen&) const = default;
};
void PrintTo(const seen& s, std::ostream* out) { *out << s.type << ": " << s.text; }

seen look(const std::exception_ptr& p) {
  try {
    std::rethrow_exception(p);
  } catch (const std::exception& e) {
    return {typeid(e).name(), e.what()};
  } catch (...) {
    return {"not an exception", ""};
  }
}

/// What `f` throws arrives as exactly the same type, with the same text, and does so again.
template <class Throw>
void expect_same(Throw f) {
  const auto original = thrown_by(f);
  ASSERT_NE(original, nullptr);
  EXPECT_EQ(look(sent(original)), look(original));
  EXPECT_EQ(look(sent(sent(original))), look(original));
}

/// The same, but that the type may be a private one derived from E.
template <class E, class Throw>
void expect_same_text(Throw f) {
  const auto original = thrown_by(f);
  auto copy = original;
  for (int hop = 0; hop < 2; ++hop) {
    copy = sent(copy);
    EXPECT_EQ(look(copy).text, look(original).text);
    EXPECT_THROW(std::rethrow_exception(copy), E);
  }
}

template <class E>
class standard_text : public testing::Test {};
using text_types =
    testing::Types<std::logic_error, std::invalid_argument, std::domain_error, std::length_error, std::out_of_range,
                   std::runtime_error, std::range_error, std::overflow_error, std::underflow_error, tandem::error,
                   tandem::timed_out, tandem::cancelled, tandem::closed, tandem::broken_connection,
                   tandem::authentication_failed, tandem::decode_error, tandem::unsafe_fork, tandem::not_initialised,
                   tandem::owner_died, tandem::broken_barrier, tandem::unsupported, tandem::worker_died,
                   tandem::worker_crashed, tandem::worker_exited, tandem::remote_exception>;
TYPED_TEST_SUITE(standard_text, text_types);

TYPED_TEST(standard_text, arrives_as_itself) {
  expect_same([] { throw TypeParam("some text"); });
  expect_same([] { throw TypeParam(""); });
  expect_same([] { throw TypeParam(std::string(100'000, 'x')); });
}

template <class E>
class standard_plain : public testing::Test {};
using plain_types =
    testing::Types<std::exception, std::bad_alloc, std::bad_array_new_length, std::bad_cast, std::bad_typeid,
                   std::bad_exception, std::bad_function_call, std::bad_optional_access, std::bad_variant_access,
                   std::bad_any_cast, std::bad_weak_ptr>;
TYPED_TEST_SUITE(standard_plain, plain_types);

TYPED_TEST(standard_plain, arrives_as_itself) {
  expect_same([] { throw TypeParam(); });
}

TEST(exceptions, of_the_library_as_it_throws_them) {
  expect_same([] { static_cast<void>(std::vector<int>().at(1)); });
  expect_same([] { std::stoi("x"); });
  expect_same([] { static_cast<void>(std::string().substr(2)); });
  expect_same([] { static_cast<void>(std::any_cast<int>(std::any("text"))); });
  expect_same([] { static_cast<void>(std::optional<int>().value()); });
  expect_same([] { std::function<void()>()(); });
  expect_same([] { std::shared_ptr<int>(std::weak_ptr<int>()); });
  expect_same([] { std::regex("("); });
  expect_same([] {
    std::future<int> f = std::promise<int>().get_future();
    f.get();
  });
  expect_same([] { static_cast<void>(std::filesystem::file_size("/no/such/file")); });
  expect_same([] { std::filesystem::rename("/no/such/file", "/no/such/other"); });
  expect_same_text<std::bad_variant_access>([] { static_cast<void>(std::get<int>(std::variant<int, bool>(true))); });
  expect_same_text<std::ios_base::failure>([] {
    std::ifstream f;
    f.exceptions(std::ios::failbit);
    f.open("/no/such/file");
  });
}

TEST(exceptions, system_errors_keep_their_code) {
  for (const std::error_category* category :
       {&std::generic_category(), &std::system_category(), &std::iostream_category(), &std::future_category()}) {
    const std::error_code code(2, *category);
    expect_same([&] { throw std::system_error(code, "prefix"); });
    expect_same([&] { throw std::system_error(code); });
    expect_same([&] { throw std::system_error(code, ""); });
    expect_same([&] { throw std::system_error(code, "a: b: c"); });
    expect_same([&] { throw std::ios_base::failure("stream", code); });
    try {
      std::rethrow_exception(sent(std::make_exception_ptr(std::system_error(code, "prefix"))));
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), code);
    }
  }
}

struct own_category : std::error_category {
  const char* name() const noexcept override { return "own"; }
  std::string message(int) const override { return "own message"; }
};

TEST(exceptions, an_unknown_category_becomes_the_generic_one_and_keeps_the_text) {
  static const own_category own;
  const auto e = std::make_exception_ptr(std::system_error(std::error_code(5, own), "prefix"));
  expect_same_text<std::system_error>([&] { std::rethrow_exception(e); });
  try {
    std::rethrow_exception(sent(e));
  } catch (const std::system_error& arrived) {
    EXPECT_EQ(arrived.code(), std::error_code(5, std::generic_category()));
    EXPECT_STREQ(arrived.what(), "prefix: own message");
  }
}

TEST(exceptions, filesystem_errors_keep_their_paths) {
  using std::filesystem::filesystem_error;
  const auto code = std::make_error_code(std::errc::no_space_on_device);
  expect_same([&] { throw filesystem_error("text", code); });
  expect_same([&] { throw filesystem_error("text", "/a", code); });
  expect_same([&] { throw filesystem_error("text", "/a", "/b", code); });
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(filesystem_error("text", "/a", "/b", code))));
  } catch (const filesystem_error& e) {
    EXPECT_EQ(e.path1(), "/a");
    EXPECT_EQ(e.path2(), "/b");
    EXPECT_EQ(e.code(), code);
  }
}

TEST(exceptions, of_tandem_keep_what_they_carry) {
  const std::error_code code(12, std::generic_category());
  for (const char* advice : {"", "free some"}) {
    const auto e = std::make_exception_ptr(tandem::resource_exhausted("mmap", code, advice));
    expect_same([&] { std::rethrow_exception(e); });
    try {
      std::rethrow_exception(sent(e));
    } catch (const tandem::resource_exhausted& arrived) {
      EXPECT_EQ(arrived.code(), code);
      EXPECT_EQ(arrived.operation(), "mmap");
    }
  }
  // Made by a user, of a text alone.
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(tandem::resource_exhausted("no licence is free"))));
  } catch (const tandem::resource_exhausted& arrived) {
    EXPECT_EQ(typeid(arrived), typeid(tandem::resource_exhausted));
    EXPECT_STREQ(arrived.what(), "no licence is free");
    EXPECT_EQ(arrived.code(), std::error_code());
    EXPECT_EQ(arrived.operation(), "");
  }
  tandem::crash_report report;
  report.status = tandem::exit_status::make(tandem::ending::signalled, 11, tandem::cause::out_of_memory);
  report.task = "parse";
  report.pid = 77;
  const auto crashed = std::make_exception_ptr(tandem::worker_crashed(report));
  expect_same([&] { std::rethrow_exception(crashed); });
  try {
    std::rethrow_exception(sent(crashed));
  } catch (const tandem::worker_crashed& arrived) {
    EXPECT_EQ(arrived.report().task, "parse");
    EXPECT_EQ(arrived.report().pid, 77);
    EXPECT_EQ(arrived.report().status, report.status);
  }
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(tandem::remote_exception("my::type", "text"))));
  } catch (const tandem::remote_exception& arrived) {
    EXPECT_EQ(arrived.type_name(), "my::type");
  }
}

// ---- a user's own ----

class registered : public std::runtime_error {
 public:
  registered(const std::string& text, int number) : std::runtime_error(text), number_(number) {}
  int number() const { return number_; }

 private:
  int number_;
};

class unregistered : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct derived_from_registered : registered {
  using registered::registered;
};

class hook_throws : public std::exception {
 public:
  const char* what() const noexcept override { return "before the hook"; }
};

class copy_throws : public std::exception {
 public:
  copy_throws() = default;
  copy_throws(const copy_throws& other) : std::exception(other) {
    if (armed) throw 1;
  }
  const char* what() const noexcept override { return "copied"; }
  static inline bool armed = false;
};

class read_throws : public std::exception {
 public:
  const char* what() const noexcept override { return "unreadable"; }
};

}  // namespace

template <>
struct tandem::transfer<registered> {
  static void write(writer& w, const registered& e) {
    w(std::string(e.what()));
    w(e.number());
  }
  static registered read(reader& r) {
    std::string text;
    int number = 0;
    r(text);
    r(number);
    return {text, number};
  }
};
template <>
struct tandem::transfer<hook_throws> {
  static void write(writer& w, const hook_throws&) {
    w(1);
    throw 42;
  }
  static hook_throws read(reader&) { return {}; }
};
template <>
struct tandem::transfer<copy_throws> {
  static void write(writer&, const copy_throws&) {}
  static copy_throws read(reader&) { return {}; }
};
template <>
struct tandem::transfer<read_throws> {
  static void write(writer&, const read_throws&) {}
  static read_throws read(reader&) { throw registered("from the hook", 1); }
};

namespace {

// Before main, and twice.
const bool before_main = (tandem::register_exception<registered>(), tandem::register_exception<registered>(), true);

void expect_remote(const std::exception_ptr& original, const std::string& type, const std::string& text) {
  try {
    std::rethrow_exception(sent(original));
  } catch (const tandem::remote_exception& e) {
    EXPECT_THAT(e.type_name(), testing::HasSubstr(type));
    EXPECT_THAT(e.what(), testing::HasSubstr(text));
  } catch (...) {
    FAIL() << "no remote_exception";
  }
}

TEST(registered_exceptions, arrive_as_themselves) {
  ASSERT_TRUE(before_main);
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(registered("text", 7))));
    FAIL();
  } catch (const registered& e) {
    EXPECT_STREQ(e.what(), "text");
    EXPECT_EQ(e.number(), 7);
  }
}

TEST(registered_exceptions, of_exactly_that_type) {
  expect_remote(std::make_exception_ptr(derived_from_registered("text", 7)), "derived_from_registered", "text");
}

TEST(registered_exceptions, whose_hook_throws_arrive_by_name) {
  tandem::register_exception<hook_throws>();
  tandem::register_exception<read_throws>();
  tandem::register_exception<copy_throws>();
  expect_remote(std::make_exception_ptr(hook_throws()), "hook_throws", "before the hook");
  expect_remote(std::make_exception_ptr(read_throws()), "read_throws", "unreadable");
  const auto original = std::make_exception_ptr(copy_throws());
  copy_throws::armed = true;
  expect_remote(original, "copy_throws", "copied");
  copy_throws::armed = false;
}

TEST(unknown_exceptions, arrive_by_name) {
  expect_remote(std::make_exception_ptr(unregistered("text")), "unregistered", "text");
  expect_remote(std::make_exception_ptr(42), "int", "an exception of type int");
  expect_remote(std::make_exception_ptr(std::string("x")), "string", "an exception of type");
  expect_remote(nullptr, "", "no exception");
  expect_remote(thrown_by([] {
                  try {
                    throw std::logic_error("inner");
                  } catch (...) {
                    std::throw_with_nested(std::runtime_error("outer"));
                  }
                }),
                "runtime_error", "outer");
}

// ---- hostile bytes ----

/// Whatever the bytes: some exception, and no crash.
void expect_something(const bytes& b) {
  EXPECT_NE(thrown_by([&] { rethrow_encoded(b); }), nullptr);
}

TEST(hostile_exceptions, end_in_some_exception) {
  tandem::crash_report report;
  report.task = "parse";
  const std::exception_ptr originals[] = {
      std::make_exception_ptr(registered("text", 7)),
      std::make_exception_ptr(std::system_error(std::error_code(2, std::generic_category()), "prefix")),
      std::make_exception_ptr(std::filesystem::filesystem_error("text", "/a/b", "/c", std::error_code())),
      std::make_exception_ptr(tandem::worker_crashed(report)),
      std::make_exception_ptr(std::future_error(std::future_errc::no_state)),
      std::make_exception_ptr(std::regex_error(std::regex_constants::error_brack)),
      std::make_exception_ptr(unregistered("text")),
  };
  for (const auto& original : originals) {
    const bytes good = encoded(original);
    for (std::size_t size = 0; size < good.size(); ++size) {
      EXPECT_THROW(rethrow_encoded(std::span(good).first(size)), tandem::remote_exception);
    }
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (const unsigned pattern : {0x01U, 0x80U, 0xffU}) {
        bytes bad = good;
        bad[i] ^= std::byte{static_cast<unsigned char>(pattern)};
        expect_something(bad);
      }
    }
  }
  expect_something({});
  expect_something(bytes(1000, std::byte{0xff}));
}

}  // namespace
