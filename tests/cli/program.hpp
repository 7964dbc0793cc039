#pragma once
// What the tests of the program share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/run_program.hpp"
#include "support/watchdog.hpp"

namespace tandem::test {

class cli : public testing::Test {
 private:
  watchdog watchdog_{230};  // hosts of 1 GiB are made, and the first touch of that may take ten seconds
};

ran tandem_with(std::vector<std::string> arguments);
/// `tandem` as the shell runs it, with redirections.
ran in_shell(const std::string& arguments);
/// Where some system calls are missing (ENOSYS), or kill, as "!name" says: "pidfd_open,!clone3".
ran tandem_without(const std::string& calls, std::vector<std::string> arguments);
/// As a user who may do nothing. Only root can ask for this. `before` is what
/// bash runs first.
ran tandem_as_nobody(std::vector<std::string> arguments, const std::string& before = ":");
bool is_root();

std::vector<std::string> lines_of(const std::string& text);
void expect_one_sentence(const std::string& text);
void expect_lines_of_at_most_100(const std::string& text);
/// What Python prints for `expression`, in which `d` is the document; an error if the text is no JSON.
std::string in_json(const std::string& text, const std::string& expression);

}  // namespace tandem::test
