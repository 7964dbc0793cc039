// Counts the words below a directory with threads, and again with processes: the same function, by one word. Then with a
// pool of each, whose workers take one slice of the files after the other.
//
//   word_count [DIRECTORY [WORKERS]]        /usr/include, and as many as there are CPUs (at least 2), unless told
//
// It counts every regular file, in the order of find(1), and follows no symbolic links. A word is what `cat ... | wc
// -w` counts in the C locale: bytes without white space between them, at least one of which can be printed. A file that
// does not end with white space therefore shares a word with the next, as it does when they are joined by cat. It fails
// if the totals differ, or if a file could not be read.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tandem/tandem.hpp>

namespace {

namespace fs = std::filesystem;

/// The words of a piece of text; pieces can be joined. Words that touch an end of the piece are not counted yet: they
/// may go on in the next. `open_*`: at that end there is something that can be printed before any white space.
struct tally {
  long words = 0;
  bool white_space = false;
  bool open_front = false;
  bool open_back = false;

  void add(unsigned char byte) {
    if (byte == ' ' || (byte >= '\t' && byte <= '\r')) {
      if (!white_space) {
        open_front = open_back;
      } else {
        words += open_back;
      }
      white_space = true;
      open_back = false;
    } else if (byte > ' ' && byte < 0x7f) {
      open_back = true;
    }
  }

  void add(const tally& next) {
    if (!next.white_space) {
      open_back |= next.open_back;
      return;
    }
    const bool joined = open_back || next.open_front;
    if (white_space) {
      words += joined;
    } else {
      open_front = joined;
    }
    words += next.words;
    white_space = true;
    open_back = next.open_back;
  }

  long total() const { return words + open_back + (white_space && open_front); }
};

struct outcome {
  tally text;
  std::vector<std::string> unreadable = {};

  void add(const outcome& next) {
    text.add(next.text);
    unreadable.insert(unreadable.end(), next.unreadable.begin(), next.unreadable.end());
  }
};

/// What the workers do, whether they are threads or processes.
outcome count(const std::vector<std::string>& files) {
  outcome done;
  std::vector<unsigned char> buffer(256 * 1024);
  for (const std::string& name : files) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(name.c_str(), "re"), std::fclose);
    if (file) std::setvbuf(file.get(), nullptr, _IONBF, 0);
    std::size_t got = 0;
    while (file && (got = std::fread(buffer.data(), 1, buffer.size(), file.get())) > 0) {
      for (std::size_t i = 0; i < got; ++i) done.text.add(buffer[i]);
    }
    if (!file || std::ferror(file.get())) done.unreadable.push_back(name);
  }
  return done;
}

class progress_bar {
 public:
  explicit progress_bar(std::size_t steps) : steps_(steps), shown_(::isatty(STDERR_FILENO) == 1) {}
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;
  ~progress_bar() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  void step() {
    if (!shown_) return;
    const std::lock_guard lock(mutex_);
    constexpr std::size_t width = 40;
    const std::size_t full = ++done_ * width / steps_;
    fmt::print(stderr, "\r[{:#<{}}{:.<{}}]", "", full, "", width - full);
  }

 private:
  std::mutex mutex_;
  std::size_t steps_;
  std::size_t done_ = 0;
  bool shown_;
};

using slice = std::vector<std::string>;

/// Runs count() on every slice in a Unit of its own, `at_once` at a time, and joins what they found, in order.
template <template <class> class Unit>
outcome count_all(const std::vector<slice>& slices, unsigned at_once) {
  progress_bar progress(slices.size());
  std::vector<outcome> found(slices.size());
  std::atomic<std::size_t> next = 0;
  const auto lane = [&] {  // takes the next slice whenever its last one is done, so that no lane waits for another
    for (std::size_t i = next++; i < slices.size(); i = next++) {
      Unit<outcome> unit(count, slices[i]);
      found[i] = unit.get();
      progress.step();
    }
  };
  std::vector<tandem::thread<void>> lanes;
  for (unsigned i = 0; i < at_once; ++i) lanes.emplace_back(lane);
  for (auto& each : lanes) each.get();

  outcome all;
  for (const outcome& one : found) all.add(one);
  return all;
}

/// The same with the workers of a pool, which are there before and after: map() gives the results in order.
template <class Pool>
outcome count_in(Pool& pool, const std::vector<slice>& slices) {
  progress_bar progress(slices.size());
  outcome all;
  for (const outcome& one : pool.map(count, slices)) {
    all.add(one);
    progress.step();
  }
  return all;
}

/// Times it, and says what came of it.
template <class Count>
outcome count_aloud(const char* units, unsigned at_once, Count count_them) {
  const auto start = std::chrono::steady_clock::now();
  outcome done = count_them();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("{:<13} {} words in {:.3f} s, {} at a time\n", units, done.text.total(), took.count(), at_once);
  return done;
}

/// All files, cut into slices of about the same size: many more than there are workers, so that those who got small
/// files take more of them.
std::vector<slice> cut(const fs::path& directory, unsigned workers) {
  constexpr std::uintmax_t slices_per_worker = 16;
  std::vector<std::pair<std::string, std::uintmax_t>> files;
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file() || entry.is_symlink()) continue;
    std::error_code gone;
    const std::uintmax_t size = entry.file_size(gone);
    files.emplace_back(entry.path().string(),
                       gone ? 0 : size + 4096);  // opening one costs about as much as reading 4 KiB
    bytes += files.back().second;
  }
  std::vector<slice> slices;
  std::uintmax_t before = 0;
  for (auto& [name, size] : files) {
    const std::uintmax_t wanted = before * workers * slices_per_worker / std::max<std::uintmax_t>(bytes, 1);
    if (slices.empty() || slices.size() <= wanted) slices.emplace_back();
    slices.back().push_back(std::move(name));
    before += size;
  }
  fmt::print("{}: {} files, {:.1f} MB\n", directory.string(), files.size(), static_cast<double>(before) / 1e6);
  return slices;
}

unsigned workers_from(const std::string& text) {
  const bool digits = !text.empty() && text.size() < 5 && text.find_first_not_of("0123456789") == std::string::npos;
  const unsigned long number = digits ? std::stoul(text) : 0;
  if (number < 1 || number > 1000) throw std::invalid_argument("WORKERS is a number from 1 to 1000");
  return static_cast<unsigned>(number);
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() > 2) throw std::invalid_argument("usage: word_count [DIRECTORY [WORKERS]]");
  const fs::path directory = !arguments.empty() ? arguments[0] : "/usr/include";
  const unsigned workers = arguments.size() > 1 ? workers_from(arguments[1]) : std::max(tandem::available_cpus(), 2U);

  const std::vector<slice> slices = cut(directory, workers);
  count_all<tandem::thread>(slices, workers);  // untimed: from here on the files are in memory, for both alike
  std::vector<outcome> all;
  all.push_back(count_aloud("threads:", workers, [&] { return count_all<tandem::thread>(slices, workers); }));
  all.push_back(count_aloud("processes:", workers, [&] { return count_all<tandem::process>(slices, workers); }));
  tandem::thread_pool threads(workers);
  all.push_back(count_aloud("thread_pool:", workers, [&] { return count_in(threads, slices); }));
  tandem::process_pool processes(workers);
  all.push_back(count_aloud("process_pool:", workers, [&] { return count_in(processes, slices); }));
  for (const std::string& name : all.front().unreadable) fmt::print(stderr, "word_count: cannot read {}\n", name);

  for (const outcome& one : all) {
    if (one.text.total() != all.front().text.total()) throw std::runtime_error("the totals differ");
  }
  if (std::fflush(stdout) != 0) throw std::runtime_error("cannot write to standard output");
  return std::all_of(all.begin(), all.end(), [](const outcome& one) { return one.unreadable.empty(); }) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    tandem::init();
    return run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    fmt::print(stderr, "word_count: {}\n", e.what());
    return 1;
  }
}
