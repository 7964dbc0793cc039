// CPU quotas, read from trees of files as the two versions of control groups lay them out.
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "os/kernel.hpp"
#include "support/fixture.hpp"

namespace {

namespace fs = std::filesystem;

class cgroups : public testing::Test {
 protected:
  cgroups() : root_(fs::temp_directory_path() / ("tandem-cgroups-" + std::to_string(::getpid()))) {
    fs::create_directories(root_ / "proc");
  }
  ~cgroups() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    const fs::path full = root_.string() + path;
    fs::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  std::optional<unsigned> quota() { return tandem::os::cpu_quota((root_ / "proc").string(), root_.string()); }

 private:
  fs::path root_;
};

TEST_F(cgroups, none_at_all) { EXPECT_EQ(quota(), std::nullopt); }

TEST_F(cgroups, version_2) {
  write("/proc/cgroup", "0::/user/app\n");
  write("/proc/mountinfo", "30 23 0:26 / /cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("/cg/user/app/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("/cg/user/app/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 2U);
  write("/cg/user/app/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2U);
  write("/cg/user/app/cpu.max", "10000 100000\n");
  EXPECT_EQ(quota(), 1U);
}

TEST_F(cgroups, a_group_above_limits_too) {
  write("/proc/cgroup", "0::/user/app\n");
  write("/proc/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
  write("/cg/user/app/cpu.max", "400000 100000\n");
  write("/cg/user/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3U);
  write("/cg/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1U);
}

TEST_F(cgroups, version_1) {
  write("/proc/cgroup", "5:memory:/m\n3:cpu,cpuacct:/box\n");
  write("/proc/mountinfo",
        "40 23 0:30 / /sys/m rw - cgroup cgroup rw,memory\n41 23 0:31 / /sys/c rw - cgroup cgroup rw,cpu,cpuacct\n");
  write("/sys/c/box/cpu.cfs_quota_us", "-1\n");
  write("/sys/c/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("/sys/c/box/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(quota(), 3U);
}

TEST_F(cgroups, of_a_container_that_sees_its_own_group_as_the_root) {
  write("/proc/cgroup", "3:cpu:/docker/abc/inner\n");
  write("/proc/mountinfo", "41 23 0:31 /docker/abc /sys/c rw - cgroup cgroup rw,cpu\n");
  write("/sys/c/cpu.cfs_quota_us", "200000\n");
  write("/sys/c/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 2U);
}

TEST_F(cgroups, with_blanks_in_the_path) {
  write("/proc/cgroup", "0::/\n");
  write("/proc/mountinfo", "30 23 0:26 / /c\\040g rw - cgroup2 cgroup2 rw\n");
  write("/c g/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1U);
}

TEST_F(cgroups, garbage_sets_no_limit) {
  write("/proc/cgroup", "\n:::\nx\n0::/a\n");
  write("/proc/mountinfo", "\n1 2 3\n30 23 0:26 / /cg rw - cgroup2\n31 23 0:27 / /cg\\9 rw - cgroup2 x rw\n");
  write("/cg/a/cpu.max", "x y\n");
  write("/cg/cpu.max", "100000 0\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST(available_cpus, is_at_least_one_and_at_most_the_machines) {
  EXPECT_GE(tandem::available_cpus(), 1U);
  EXPECT_LE(tandem::available_cpus(), static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN)));
}

TEST(available_cpus, follows_the_affinity_mask) {
  tandem::process p([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    return ::sched_setaffinity(0, sizeof one, &one) == 0 ? tandem::available_cpus() : 1U;
  });
  EXPECT_EQ(p.get(), 1U);
}

TEST(available_cpus, follows_a_real_quota) {
  const fs::path group = "/sys/fs/cgroup/cpu/tandem-test-" + std::to_string(::getpid());
  std::error_code failed;
  fs::create_directory(group, failed);
  if (failed || !fs::exists(group / "cpu.cfs_quota_us")) GTEST_SKIP() << "needs root and cgroup version 1";
  std::ofstream(group / "cpu.cfs_quota_us") << 100'000;
  tandem::process p(
      [](std::string tasks) {
        std::ofstream(tasks) << ::getpid();
        return tandem::available_cpus();
      },
      (group / "cgroup.procs").string());
  EXPECT_EQ(p.get(), 1U);
  EXPECT_TRUE(tandem::test::eventually([&] { return ::rmdir(group.c_str()) == 0; }));
}

}  // namespace
