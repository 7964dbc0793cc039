// SHA-256 of all files below a directory, as sha256sum(1) prints them; by threads or by processes, as it is told.
//
//   checksums threads|processes|here DIRECTORY
//
// It follows no symbolic links. It fails if a file could not be read, after all others.
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <tandem/init.hpp>
#include <tandem/pool.hpp>

namespace {

namespace fs = std::filesystem;

/// Of one file: the sum, or why there is none.
struct checked {
  std::string sum = {};
  std::string error = {};
};

std::string sha256(const fs::path& path) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  std::ifstream file(path, std::ios::binary);
  std::array<char, 65536> piece;
  if (!file || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) throw std::runtime_error("cannot be read");
  while (file.read(piece.data(), piece.size()), file.gcount() > 0)
    EVP_DigestUpdate(context.get(), piece.data(), static_cast<std::size_t>(file.gcount()));
  if (file.bad()) throw std::runtime_error("cannot be read to its end");
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

checked check(const fs::path& path) {
  try {
    return {sha256(path), {}};
  } catch (const std::exception& e) {
    return {{}, e.what()};
  }
}

std::vector<fs::path> files_below(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory))
    if (entry.symlink_status().type() == fs::file_type::regular) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

tandem::pool make_pool(std::string_view units) {
  if (units == "threads") return tandem::pool(tandem::threads());
  if (units == "processes") return tandem::pool(tandem::processes());
  if (units == "here") return tandem::pool(tandem::inline_execution);
  throw std::invalid_argument("the first argument is threads, processes or here");
}

int run(std::string_view units, const fs::path& directory) {
  tandem::pool pool = make_pool(units);
  const std::vector<fs::path> files = files_below(directory);
  std::size_t at = 0;
  int failed = 0;
  for (const checked& each : pool.map(check, files)) {
    const std::string& path = files[at++].native();
    if (each.error.empty()) {
      fmt::print("{}  {}\n", each.sum, path);
    } else {
      fmt::print(stderr, "{} {}\n", path, each.error);
      failed = 1;
    }
  }
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  if (argc != 3) {
    fmt::print(stderr, "usage: checksums threads|processes|here DIRECTORY\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception& e) {
    fmt::print(stderr, "checksums: {}\n", e.what());
    return 1;
  }
}
