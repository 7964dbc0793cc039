// Programs with named memory are killed, with all their workers: the names go with the session.
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "memory/segment.hpp"
#include "support/fixture.hpp"
#include "support/run_program.hpp"

namespace {

using tandem::shared_array;
using tandem::test::eventually;

std::string own_name(const std::string& ending) { return "left-" + std::to_string(::getpid()) + ending; }
std::filesystem::path file_of(const std::string& name) { return "/dev/shm/tandem." + name; }

class names_of_the_killed : public tandem::test::checked {};

TEST_F(names_of_the_killed, go_with_the_session) {
  const std::string name = own_name("a");
  const auto said = tandem::test::run({std::filesystem::read_symlink("/proc/self/exe").string(), "leave", name});
  EXPECT_EQ(said.signal, SIGKILL);
  EXPECT_EQ(said.out, "made\n");
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(file_of(name)); }));
}

TEST_F(names_of_the_killed, are_taken_from_nobody_else) {
  const std::string held = own_name("b");
  const shared_array<int> mine(10, {.name = held});
  const std::filesystem::path foreign = file_of(own_name("c"));
  std::ofstream(foreign) << std::string(5000, 'x');  // no memory of ours, but named as if it were
  const std::filesystem::path empty = file_of(own_name("d"));
  std::ofstream{empty};
  tandem::detail::remove_names_of_the_killed();
  for (const auto& kept : {file_of(held), foreign, empty}) EXPECT_TRUE(std::filesystem::exists(kept)) << kept;
  std::filesystem::remove(foreign);
  std::filesystem::remove(empty);
}

// The host and a worker have it by name, and all are killed.
int leave(const std::string& name) {
  tandem::init();
  const shared_array<int> a(1000, {.name = name});
  const tandem::shared<tandem::event> ready;
  tandem::process worker(
      [](const std::string& asked, const tandem::shared<tandem::event>& joined) {
        const shared_array<int> b(1000, {.name = asked});
        joined->set();
        for (;;) ::pause();
      },
      name, ready);
  ready->wait();
  if (std::filesystem::exists(file_of(name))) ::write(1, "made\n", 5);
  ::raise(SIGKILL);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 2 && std::string(argv[1]) == "leave") return leave(argv[2]);
  tandem::init();
  return RUN_ALL_TESTS();
}
