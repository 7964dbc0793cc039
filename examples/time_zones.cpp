// A library that is not thread-safe, run in parallel by processes. The C library converts times for one time zone at a time:
// that of the environment variable TZ, which the whole process shares. Two threads that ask for two zones at once get
// each other's, or worse. Two processes do not.
#include <array>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tandem/init.hpp>
#include <tandem/process_pool.hpp>

namespace {

// snippet: zones
/// How many seconds of the year are summer time there, counted hour by hour.
long summer_time(const std::string& zone, int year) {
  ::setenv("TZ", zone.c_str(), 1);  // of this process: of nobody else
  ::tzset();
  std::tm begin{};
  begin.tm_year = year - 1900;
  begin.tm_mday = 1;
  long seconds = 0;
  for (std::time_t at = std::mktime(&begin);; at += 3600) {
    std::tm local{};
    ::localtime_r(&at, &local);
    if (local.tm_year != year - 1900) return seconds;
    if (local.tm_isdst > 0) seconds += 3600;
  }
}

void print_all(const std::vector<std::string>& zones) {
  tandem::process_pool pool(2);
  std::vector<tandem::future<long>> results;
  for (const std::string& zone : zones) results.push_back(pool.submit(summer_time, zone, 2024));
  for (std::size_t i = 0; i < zones.size(); ++i) fmt::print("{}: {} hours\n", zones[i], results[i].get() / 3600);
}
// snippet end

}  // namespace

int main() {
  tandem::init();
  print_all({"CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "AEST-10AEDT,M10.1.0,M4.1.0/3", "JST-9",
             "NZST-12NZDT,M9.5.0,M4.1.0/3", "UTC0"});
}
