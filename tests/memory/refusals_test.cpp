// What cannot be had, what is not what it says, and what a worker tries that was only given to read.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "os/kernel.hpp"
#include "support/fixture.hpp"

namespace {

using namespace tandem::literals;
using tandem::file_descriptor;
using tandem::resource_exhausted;
using tandem::shared;
using tandem::shared_array;
using tandem::shared_memory;

class refusals : public tandem::test::checked {};

// ---- peers ------------------------------------------------------------------------------------------------------

TEST_F(refusals, what_a_peer_has_scribbled_over_harms_no_other) {
  const shared<long> object(5);
  const shared_array<long> array(100);
  const shared<long> other(7);
  tandem::process(
      [](const shared<long>& o, const shared_array<long>& a) {
        std::memset(static_cast<void*>(o.get()), 0xA5, 4096);  // the object, its lock, and the label behind
        std::memset(static_cast<void*>(a.span().data()), 0xA5, 4096);
      },
      object, array)
      .get();
  EXPECT_THROW(object.with([](long&) {}), tandem::owner_died);
  object.lock_and_repair([](long& n) { n = 6; });
  EXPECT_EQ(object.with([](const long& n) { return n; }), 6);
  tandem::process of_object([](const shared<long>& o) { return *o; }, object);
  EXPECT_THROW(of_object.get(), tandem::decode_error);
  tandem::process of_array([](const shared_array<long>& a) { return a.size(); }, array);
  EXPECT_THROW(of_array.get(), tandem::decode_error);
  EXPECT_EQ(array.read_only().size(), 100U);
  EXPECT_EQ(array.span().size(), 100U);
  EXPECT_EQ(tandem::process([](const shared<long>& o) { return o.with([](long& n) { return ++n; }); }, other).get(), 8);
}

// ---- sizes --------------------------------------------------------------------------------------------------------

TEST_F(refusals, sizes_that_overflow) {
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
  EXPECT_THROW(shared_memory{most}, resource_exhausted);
  EXPECT_THROW(shared_memory{most - 63}, resource_exhausted);
  EXPECT_THROW(shared_memory{most / 2}, resource_exhausted);
  EXPECT_THROW(shared_array<long>{most / 8 + 2}, resource_exhausted);
  EXPECT_THROW(shared_array<long>{most / 16}, resource_exhausted);
  try {
    shared_array<double> a(most / 4);
    FAIL();
  } catch (const resource_exhausted& e) {
    EXPECT_EQ(e.code().value(), ENOMEM);
    EXPECT_THAT(e.what(), testing::HasSubstr("elements of 8 bytes were asked for"));
  }
}

TEST_F(refusals, more_than_the_machine_has) {
  const std::size_t all = tandem::os::available_memory();
  for (const bool huge : {false, true}) {
    try {
      shared_memory m(all + 1_GiB, {.huge_pages = huge});
      FAIL();
    } catch (const resource_exhausted& e) {
      EXPECT_EQ(e.operation(), "fallocate");
      EXPECT_THAT(e.what(), testing::HasSubstr("bytes are available"));
    }
  }
}

TEST_F(refusals, an_empty_one_is_memory_too) {
  const shared_array<int> none(0);
  EXPECT_TRUE(none.span().empty());
  EXPECT_EQ(tandem::process([](const shared_array<int>& a) { return a.size(); }, none).get(), 0U);
}

// In a copy, since a limit cannot be raised again.
template <class F>
int in_copy(F f) {
  return tandem::process(tandem::fork_options{.allow_threads = true}, f).get();
}

TEST_F(refusals, a_limit_of_address_space) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer takes all address space";
#endif
  const int code = in_copy([] {
    const rlimit limit{1_GiB, 1_GiB};
    ::setrlimit(RLIMIT_AS, &limit);
    try {
      shared_memory m(2_GiB);
    } catch (const resource_exhausted& e) {
      return e.operation() == "mmap" ? e.code().value() : -1;
    }
    return 0;
  });
  EXPECT_EQ(code, ENOMEM);
}

TEST_F(refusals, a_limit_of_address_space_in_the_worker) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer takes all address space";
#endif
  // It cannot map what it is given: an error, and nothing else.
  const int code = in_copy([] {
    const shared_array<char> a(300_MiB);
    const rlimit limit{400_MiB, 400_MiB};
    tandem::process p(tandem::fork_options{.allow_threads = true}, [&a, &limit] {
      tandem::writer w;
      w(a);
      auto sent = tandem::detail::take_message(std::move(w));
      ::setrlimit(RLIMIT_AS, &limit);
      auto r = tandem::detail::make_reader(sent.bytes, sent.handles);
      try {
        tandem::detail::read_value<shared_array<char>>(r);
      } catch (const resource_exhausted& e) {
        return e.code().value();
      }
      return 0;
    });
    return p.get();
  });
  EXPECT_EQ(code, ENOMEM);
}

TEST_F(refusals, a_limit_of_descriptors) {
  const int code = in_copy([] {
    const rlimit limit{64, 64};
    ::setrlimit(RLIMIT_NOFILE, &limit);
    std::vector<shared<int>> all;
    all.reserve(100);
    try {
      for (int i = 0; i < 100; ++i) all.emplace_back(i);
    } catch (const resource_exhausted& e) {
      return e.code().value();
    }
    return 0;
  });
  EXPECT_EQ(code, EMFILE);
}

TEST_F(refusals, a_limit_of_file_size_is_an_error_and_no_signal) {
  const int code = in_copy([] {
    const rlimit limit{1_MiB, 1_MiB};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      shared_memory m(2_MiB);
    } catch (const resource_exhausted& e) {
      return e.code().value();
    }
    return 0;
  });
  EXPECT_EQ(code, EFBIG);
}

// ---- reserved and sealed ------------------------------------------------------------------------------------------

TEST_F(refusals, all_of_it_is_reserved) {
  for (const bool huge : {false, true}) {
    const shared_memory m(8_MiB, {.huge_pages = huge});
    struct stat status {};
    ASSERT_EQ(::fstat(m.descriptor().get(), &status), 0);
    EXPECT_GE(status.st_blocks * 512, static_cast<long>(8_MiB));
    EXPECT_EQ(m.bytes().size(), 8_MiB);
  }
}

TEST_F(refusals, nobody_can_change_its_size) {
  shared_array<int> a(5000);
  a.span()[4999] = 1;
  const std::string tried = tandem::process(
                                [](const shared_array<int>&) {
                                  std::string said;
                                  for (const int fd : tandem::os::open_descriptors()) {
                                    struct stat status {};
                                    ::fstat(fd, &status);
                                    if (status.st_size < 20'000) continue;
                                    for (const long size : {0L, 4096L, 1L << 20}) {
                                      if (::ftruncate(fd, size) == 0) said += "resized ";
                                    }
                                    said += std::strerror(errno);
                                  }
                                  return said;
                                },
                                a)
                                .get();
  EXPECT_EQ(tried, std::strerror(EPERM));
  EXPECT_EQ(a.span()[4999], 1);
}

// ---- only to read -------------------------------------------------------------------------------------------------

std::string said(const std::string& what, bool done) {
  return what + (done ? ": done" : std::string(": ") + std::strerror(errno)) + "\n";
}

// All that a process can try that has only a handle to read with. Nothing of it is done.
std::string tries_to_write(const shared_array<const int>& a) {
  std::string all;
  auto* address = const_cast<int*>(a.span().data());
  const std::size_t bytes = a.size() * sizeof(int);
  all += said("mprotect", ::mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0);
  // Makes a second map of the same pages.
  void* second = ::mremap(address, 0, bytes, MREMAP_MAYMOVE);
  all += said("mprotect after mremap", second != MAP_FAILED && ::mprotect(second, bytes, PROT_READ | PROT_WRITE) == 0);
  all += said("madvise(MADV_REMOVE)", ::madvise(address, bytes, MADV_REMOVE) == 0);
  const int memory = ::open("/proc/self/mem", O_RDWR);
  const int two = 2;
  all += said("/proc/self/mem",
              memory >= 0 && ::pwrite(memory, &two, sizeof two,
                                      static_cast<off_t>(reinterpret_cast<std::uintptr_t>(address))) > 0);
  for (const int fd : tandem::os::open_descriptors()) {
    struct stat status {};
    ::fstat(fd, &status);
    if (!S_ISREG(status.st_mode) || static_cast<std::size_t>(status.st_size) < bytes || fd == memory) continue;
    std::vector<int> ways{fd};
    ways.push_back(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR));
    ways.push_back(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY | O_TRUNC));
    ::fchmod(fd, 0777);
    ways.push_back(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR));
    for (const int way : ways) {
      all += said("write", ::pwrite(way, &two, sizeof two, 0) > 0);
      all += said("map", ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, way, 0) != MAP_FAILED);
      void* reading = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, way, 0);
      all +=
          said("map, then mprotect", reading != MAP_FAILED && ::mprotect(reading, bytes, PROT_READ | PROT_WRITE) == 0);
      all += said("hole", ::fallocate(way, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
      all += said("zeros", ::fallocate(way, FALLOC_FL_ZERO_RANGE, 0, 4096) == 0);
      all += said("truncate", ::ftruncate(way, 0) == 0);
      all += said("seals", ::fcntl(way, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    }
  }
  return all;
}

TEST_F(refusals, nothing_makes_a_reader_a_writer) {
  shared_array<int> a(5000);
  std::fill(a.span().begin(), a.span().end(), 1);
  const auto reading = a.read_only();
  const std::string tried = tandem::process(tries_to_write, reading).get();
  EXPECT_THAT(tried, testing::Not(testing::HasSubstr("done"))) << tried;
  EXPECT_THAT(tried, testing::HasSubstr("map, then mprotect"));
  EXPECT_EQ(std::count(a.span().begin(), a.span().end(), 1), 5000);
  a.span()[3] = 3;  // this handle goes on
  EXPECT_EQ(tandem::process([](const shared_array<const int>& r) { return r.span()[3]; }, reading).get(), 3);
}

TEST_F(refusals, a_reader_that_writes_dies_of_it) {
  const auto reading = shared_array<int>(10).read_only();
  tandem::process p(
      [](const shared_array<const int>& r) {
        const_cast<int&>(r.span()[0]) = 1;  // NOLINT: the fault is what is tested
      },
      reading);
  p.join();
  EXPECT_EQ(p.status()->signal(), SIGSEGV);
  EXPECT_EQ(reading.span()[0], 0);
}

TEST_F(refusals, handles_that_write_go_before_those_that_read) {
  shared_array<int> a(10);
  // One that has arrived goes on.
  EXPECT_EQ(tandem::process([](const shared_array<int>& seen) { return seen.span()[0] = 4; }, a).get(), 4);
  const auto reading = a.read_only();
  EXPECT_EQ(reading.read_only().span()[0], 4);
  EXPECT_THROW(tandem::process([](const shared_array<int>& seen) { return seen.size(); }, a), std::logic_error);
  EXPECT_EQ(tandem::thread([](const shared_array<int>& seen) { return seen.span()[0] = 5; }, a).get(), 5);
  EXPECT_EQ(reading.span()[0], 5);
}

TEST_F(refusals, read_only_while_a_handle_that_writes_is_on_its_way) {
  shared_array<int> a(10);
  tandem::writer w;
  w(a);
  EXPECT_THROW(static_cast<void>(a.read_only()), std::logic_error);
  auto sent = tandem::detail::take_message(std::move(w));
  auto r = tandem::detail::make_reader(sent.bytes, sent.handles);
  const auto arrived = tandem::detail::read_value<shared_array<int>>(r);
  EXPECT_EQ(a.read_only().size(), 10U);
  arrived.span()[1] = 6;
  EXPECT_EQ(a.span()[1], 6);
}

struct not_to_be_written {};

}  // namespace
template <>
struct tandem::transfer<not_to_be_written> {
  static void write(writer&, const not_to_be_written&) { throw std::domain_error("it cannot be written"); }
  static not_to_be_written read(reader&) { return {}; }
};
namespace {

TEST_F(refusals, a_handle_that_was_lost_on_its_way_keeps_nobody_from_reading_only) {
  const shared_array<int> in_a_pipe(10);
  {
    auto [rx, tx] = tandem::make_pipe<shared_array<int>>();
    tx.send(in_a_pipe);
    EXPECT_THROW(static_cast<void>(in_a_pipe.read_only()), std::logic_error);
  }
  EXPECT_EQ(in_a_pipe.read_only().size(), 10U);

  const shared_array<int> not_sent(10);
  EXPECT_THROW(tandem::process([](const shared_array<int>&, not_to_be_written) {}, not_sent, not_to_be_written{}),
               std::domain_error);
  EXPECT_EQ(not_sent.read_only().size(), 10U);

  for (int i = 0; i < 10; ++i) {
    const shared_array<int> of_a_killed_one(10);
    tandem::process killed([](const shared_array<int>&) {}, of_a_killed_one);
    killed.kill();
    killed.join();
    EXPECT_EQ(of_a_killed_one.read_only().size(), 10U);
  }
}

// What was handed to it, and is left to hand to others.
TEST_F(refusals, a_worker_cannot_seal_what_it_was_handed) {
  const tandem::queue<int> q(4);
  const shared<int> object(1);
  const shared_memory bytes(10);
  const int sealed = tandem::process(
                         [](const tandem::queue<int>&, const shared<int>&, const shared_memory&) {
                           int done = 0;
                           for (const int fd : tandem::os::open_descriptors()) {
                             if (fd > 2 && ::fcntl(fd, F_GET_SEALS) >= 0 &&
                                 ::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0)
                               ++done;
                           }
                           return done;
                         },
                         q, object, bytes)
                         .get();
  static_cast<void>(sealed);  // there are others that are its own
  EXPECT_EQ(tandem::process(
                [](const tandem::queue<int>& p, const shared<int>& o, const shared_memory& m) {
                  p.push(3);
                  return *o + static_cast<int>(m.bytes().size());
                },
                q, object, bytes)
                .get(),
            11);
  EXPECT_EQ(q.pop(), 3);
}

// ---- descriptors that are something else ----------------------------------------------------------------------------

struct claim {
  std::uint64_t count = 0;
  bool writable = true;
  bool is_named = false;
};

// What the host makes of a message like that of a handle of ints.
template <class Handle = shared_array<int>>
std::string host_says(const claim& c, file_descriptor fd) {
  tandem::writer w;
  w(true);
  w(c.writable);
  w(c.count);
  w(c.is_named);
  auto sent = tandem::detail::take_message(std::move(w));
  sent.handles.push_back(std::move(fd));
  auto r = tandem::detail::make_reader(sent.bytes, sent.handles);
  const int maps = tandem::test::take_stock().memory_maps;
  try {
    tandem::detail::read_value<Handle>(r);
  } catch (const tandem::decode_error& e) {
    EXPECT_EQ(tandem::test::take_stock().memory_maps, maps);
    return e.what();
  }
  return "taken";
}

file_descriptor memfd(std::size_t bytes, bool sealed) {
  file_descriptor fd(::memfd_create("tandem memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  if (sealed) {
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  }
  return fd;
}

TEST_F(refusals, descriptors_that_are_something_else) {
  using testing::HasSubstr;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const file_descriptor writing(ends[1]);
  EXPECT_THAT(host_says({10}, file_descriptor(ends[0])), HasSubstr("is none"));
  EXPECT_THAT(host_says({10}, file_descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC))), HasSubstr("is none"));
  EXPECT_THAT(host_says({10}, memfd(4096, false)), HasSubstr("could still change"));
  EXPECT_THAT(host_says({10}, memfd(4096, true)), HasSubstr("other memory"));
  EXPECT_THAT(host_says({10}, memfd(64, true)), HasSubstr("64 bytes came for 10 elements"));
  EXPECT_THAT(host_says({10}, memfd(0, true)), HasSubstr("0 bytes came"));
  const shared_memory bytes(40);
  EXPECT_THAT(host_says({10}, bytes.descriptor()), HasSubstr("other memory"));
  EXPECT_EQ(host_says<shared_memory>({40}, bytes.descriptor()), "taken");
  for (const std::uint64_t count : {std::uint64_t{0}, std::uint64_t{39}, std::uint64_t{41}, std::uint64_t{4096},
                                    std::uint64_t{1} << 40, ~std::uint64_t{0}, ~std::uint64_t{0} - 63}) {
    EXPECT_THAT(host_says<shared_memory>({count}, bytes.descriptor()), testing::StartsWith("tandem: ")) << count;
  }
  EXPECT_THAT(host_says<shared_memory>({40, false}, bytes.descriptor()), HasSubstr("can be written"));
  EXPECT_THAT(host_says<shared_memory>({40, true, true}, bytes.descriptor()), HasSubstr("join it by its name"));
  // Sealed by somebody else meanwhile, which only arrays can be.
  EXPECT_EQ(::fcntl(bytes.descriptor().get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
  const shared_array<int> numbers(10);
  tandem::writer w;
  w(numbers);
  auto sent = tandem::detail::take_message(std::move(w));
  EXPECT_EQ(::fcntl(sent.handles.front().get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  EXPECT_THAT(host_says({10}, std::move(sent.handles.front())), HasSubstr("read_only() was called before"));
}

TEST_F(refusals, a_worker_that_sends_something_else) {
  // A message of a type that is written alike, but with a descriptor of the worker's choice.
  tandem::process p([] { return shared_array<long>(5); });
  EXPECT_EQ(p.get().size(), 5U);
  const std::string text = host_says({5}, shared_memory(20).descriptor());
  EXPECT_THAT(text, testing::HasSubstr("other memory"));
}

TEST_F(refusals, locks_of_another_program) {
  const shared<int> object(1);
  const shared_array<tandem::mutex> locks(2);
  const shared_array<int> numbers(2);
  const auto arrives = [](const auto& handle) {
    tandem::writer w;
    w(handle);
    auto sent = tandem::detail::take_message(std::move(w));
    const int fd = sent.handles.at(0).get();
    const std::uint64_t other = 12345;  // over the session in the label, as the other program would have made it
    EXPECT_EQ(::pwrite(fd, &other, sizeof other, tandem::os::size_of(fd) - 64 + 24), 8);
    auto r = tandem::detail::make_reader(sent.bytes, sent.handles);
    try {
      tandem::detail::read_value<std::remove_cvref_t<decltype(handle)>>(r);
    } catch (const tandem::decode_error& e) {
      return std::string(e.what());
    }
    return std::string("taken");
  };
  EXPECT_THAT(arrives(object), testing::HasSubstr("did not start this one"));
  EXPECT_THAT(arrives(locks), testing::HasSubstr("did not start this one"));
  EXPECT_EQ(arrives(numbers), "taken");
}

// ---- how much there is ----------------------------------------------------------------------------------------------

class machine_files {
 public:
  machine_files() {
    std::string name = testing::TempDir() + "machine-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    root_ = name;
  }
  machine_files(const machine_files&) = delete;
  machine_files& operator=(const machine_files&) = delete;
  ~machine_files() { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::size_t available() const { return tandem::os::available_memory((root_ / "self").string(), root_.string()); }

 private:
  std::filesystem::path root_;
};

TEST_F(refusals, what_is_available_heeds_control_groups) {
  const machine_files m;
  m.put("proc/meminfo",
        "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable:  500 kB\nHugePages_Total:       3\nSwapFree: 12 kB\n");
  EXPECT_EQ(m.available(), 512U * 1024);
  m.put("self/mountinfo", "25 1 0:22 / /cgroup rw - cgroup2 cgroup2 rw\n");
  m.put("self/cgroup", "0::/outer/inner\n");
  m.put("cgroup/outer/inner/memory.max", "max\n");
  m.put("cgroup/outer/inner/memory.current", "5000\n");
  EXPECT_EQ(m.available(), 512U * 1024);
  m.put("cgroup/outer/memory.max", "300000\n");
  m.put("cgroup/outer/memory.current", "200000\n");
  m.put("cgroup/outer/memory.stat", "anon 1\nfile 70000\ninactive_file 20000\nactive_file 30000\n");
  EXPECT_EQ(m.available(), 150'000U);
  m.put("cgroup/outer/memory.current", "400000\n");
  EXPECT_EQ(m.available(), 0U);
  m.put("self/mountinfo", "25 1 0:22 / /v1 rw - cgroup cgroup rw,memory\n");
  m.put("self/cgroup", "4:memory:/g\n0::/\n");
  m.put("v1/g/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(m.available(), 512U * 1024);
  m.put("v1/g/memory.limit_in_bytes", "100000\n");
  m.put("v1/g/memory.usage_in_bytes", "60000\n");
  m.put("v1/g/memory.stat", "cache 1\ntotal_inactive_file 10000\ntotal_active_file 1000\n");
  EXPECT_EQ(m.available(), 51'000U);
}

}  // namespace
