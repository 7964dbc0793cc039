// What the base layer says: endings, reports, errors, time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include <fmt/format.h>

#include <tandem/bytes.hpp>
#include <tandem/error.hpp>
#include <tandem/fmt.hpp>

namespace {

using namespace std::chrono_literals;
using namespace tandem::literals;
using tandem::cause;
using tandem::ending;
using tandem::exit_status;
using testing::HasSubstr;

TEST(exit_statuses, say_what_happened_in_a_sentence) {
  EXPECT_EQ(exit_status().to_string(), "returned");
  EXPECT_EQ(exit_status::make(ending::threw).to_string(), "threw an exception");
  EXPECT_EQ(exit_status::make(ending::exited, 3).to_string(), "exited with code 3 before its function had returned");
  EXPECT_EQ(exit_status::make(ending::signalled, 11).to_string(), "killed by signal 11 (SIGSEGV: Segmentation fault)");
  EXPECT_EQ(exit_status::make(ending::signalled, 9, cause::requested).to_string(),
            "killed by signal 9 (SIGKILL: Killed), as this program asked");
  EXPECT_EQ(exit_status::make(ending::signalled, 40).to_string(), "killed by signal 40");
}

TEST(exit_statuses, have_a_code_or_a_signal) {
  const auto exited = exit_status::make(ending::exited, 3);
  EXPECT_EQ(exited.code(), 3);
  EXPECT_EQ(exited.signal(), 0);
  EXPECT_FALSE(exited.ok());
  const auto killed = exit_status::make(ending::signalled, 9, cause::requested);
  EXPECT_EQ(killed.code(), 0);
  EXPECT_EQ(killed.signal(), 9);
  EXPECT_EQ(killed.why(), cause::requested);
  EXPECT_TRUE(exit_status().ok());
  EXPECT_NE(exited, killed);
}

TEST(exit_statuses, print) {
  std::ostringstream out;
  out << exit_status::make(ending::threw);
  EXPECT_EQ(out.str(), "threw an exception");
  EXPECT_EQ(fmt::format("[{:>10}]", exit_status()), "[  returned]");
}

tandem::crash_report example() {
  tandem::crash_report report;
  report.status = exit_status::make(ending::signalled, 6);
  report.task = "parse";
  report.worker = "parser";
  report.pid = 7;
  report.attempt = 2;
  report.exception_type = "std::out_of_range";
  report.message = "no \"page\"\n\x01 \xff";
  report.standard_error = "oh";
  report.usage = {1500ms, 3_MiB};
  return report;
}

TEST(crash_reports, say_who_and_how) {
  EXPECT_EQ(example().to_string(),
            "worker 'parser' (pid 7), task 'parse' killed by signal 6 (SIGABRT: Aborted) at attempt 2; uncaught "
            "std::out_of_range: no \"page\"\n\x01 \xff; it had used 1500 ms of CPU time and at most 3072 KiB of "
            "memory; the end of its standard error:\noh");
  EXPECT_EQ(tandem::crash_report().to_string(), "worker (pid 0) returned");
  EXPECT_EQ(fmt::format("{}", tandem::crash_report()), "worker (pid 0) returned");
}

TEST(crash_reports, are_json) {
  EXPECT_EQ(
      example().to_json(),
      "{\"status\":\"signalled\",\"code\":0,\"signal\":6,\"why\":\"none\",\"task\":\"parse\",\"worker\":\"parser\","
      "\"pid\":7,\"attempt\":2,\"quarantined\":false,\"exception_type\":\"std::out_of_range\",\"message\":\"no "
      "\\\"page\\\"\\u000a\\u0001 "
      "\xEF\xBF\xBD\",\"standard_error\":\"oh\",\"cpu_time_ns\":1500000000,\"peak_memory_bytes\":3145728}");
}

TEST(crash_reports, replace_what_is_no_utf_8) {
  tandem::crash_report report;
  const auto message_json = [&](std::string text) {
    report.message = std::move(text);
    const std::string json = report.to_json();
    const std::size_t start = json.find("\"message\":") + 10;
    return json.substr(start, json.find(",\"standard_error", start) - start);
  };
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(message_json("aé€😀"), "\"aé€😀\"");
  EXPECT_EQ(message_json("\xC0\xAF"), "\"" + bad + bad + "\"");                      // overlong
  EXPECT_EQ(message_json("\xED\xA0\x80"), "\"" + bad + bad + bad + "\"");            // a surrogate
  EXPECT_EQ(message_json("\xF4\x90\x80\x80"), "\"" + bad + bad + bad + bad + "\"");  // past U+10FFFF
  EXPECT_EQ(message_json("\xE2\x82"), "\"" + bad + bad + "\"");                      // cut off
  EXPECT_EQ(message_json("\\"), "\"\\\\\"");
}

TEST(errors, carry_what_they_are_about) {
  const tandem::worker_crashed crashed(example());
  EXPECT_EQ(crashed.report().pid, 7);
  EXPECT_THAT(crashed.what(), HasSubstr("'parser'"));
  const tandem::worker_died& copy = crashed;
  EXPECT_EQ(tandem::worker_died(copy).report().worker, "parser");
  EXPECT_EQ(tandem::worker_exited("only text").report().pid, 0);
  const tandem::resource_exhausted exhausted("fork", std::make_error_code(std::errc::resource_unavailable_try_again),
                                             "wait");
  EXPECT_EQ(exhausted.operation(), "fork");
  EXPECT_EQ(exhausted.code(), std::errc::resource_unavailable_try_again);
  EXPECT_STREQ(exhausted.what(), "fork: Resource temporarily unavailable; wait");
  const tandem::remote_exception remote("my::error", "text");
  EXPECT_EQ(remote.type_name(), "my::error");
  EXPECT_STREQ(remote.what(), "text");
  EXPECT_EQ(tandem::remote_exception("only text").type_name(), "");
}

TEST(errors, copy_without_throwing) {
  static_assert(std::is_nothrow_copy_constructible_v<tandem::worker_crashed>);
  static_assert(std::is_nothrow_copy_constructible_v<tandem::remote_exception>);
  static_assert(std::is_nothrow_copy_constructible_v<tandem::resource_exhausted>);
  static_assert(std::is_base_of_v<std::runtime_error, tandem::worker_exited>);
}

TEST(deadlines, saturate) {
  EXPECT_EQ(tandem::deadline_after(tandem::nanoseconds::max()), tandem::clock::time_point::max());
  const auto now = tandem::clock::now();
  const auto past = tandem::deadline_after(-1h);  // no further back than now
  EXPECT_GE(past, now);
  EXPECT_LE(past, tandem::clock::now());
  EXPECT_GE(tandem::deadline_after(1h), now + 1h);
}

TEST(bytes, are_powers_of_1024) { static_assert(1_KiB == 1024 && 2_MiB == 2u << 20 && 3_GiB == std::size_t{3} << 30); }

}  // namespace
