// malformed_gguf --out DIR [--count N] [--seed S]   writes N files of the sweep, evenly chosen, and
// recipes.txt malformed_gguf --seeds DIR                        writes well-formed files: the
// fuzzer's first corpus
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/utf8.h"
#include "tests/fuzz/malformed.h"

namespace farthing::fuzz {
namespace {

// Each file under a number, and a line of recipes.txt for each.
class Folder {
 public:
  explicit Folder(const std::string& path) : path_(path) {
    std::filesystem::create_directories(path_);
    recipes_.open(path_ / "recipes.txt");
  }
  void add(uint64_t index, const MalformedFile& file) {
    const std::string name = fmt::format("{:06}.gguf", index);
    std::ofstream(path_ / name, std::ios::binary) << file.bytes;
    recipes_ << name << "\t" << printable(file.recipe, 400) << "\n";
    ++count_;
  }
  bool good() const { return recipes_.good(); }
  uint64_t count() const { return count_; }

 private:
  std::filesystem::path path_;
  std::ofstream recipes_;
  uint64_t count_ = 0;
};

int run(int argc, char** argv) {
  CLI::App app("Malformed GGUF files for readers to survive");
  std::string out;
  std::string seeds;
  uint64_t count = 500;
  uint64_t seed = 1;
  app.add_option("--out", out, "Folder for malformed files");
  app.add_option("--seeds", seeds, "Folder for well-formed files")->excludes("--out");
  app.add_option("--count", count, "How many of the sweep")->check(CLI::PositiveNumber);
  app.add_option("--seed", seed, "Seed of the random ones");
  CLI11_PARSE(app, argc, argv);
  if (out.empty() && seeds.empty()) {
    fmt::print(stderr, "error: --out DIR or --seeds DIR is missing\n");
    return 2;
  }
  Folder folder(out.empty() ? seeds : out);
  if (out.empty()) {
    for_each_well_formed([&](uint64_t i, const auto& make) { folder.add(i, make()); });
  } else {
    const uint64_t total = count_malformed(seed);
    const uint64_t wanted = std::min(count, total);
    for_each_malformed(seed, [&](uint64_t i, const auto& make) {
      if (i * wanted / total != (i + 1) * wanted / total) folder.add(i, make());
    });
  }
  fmt::print("{} files\n", folder.count());
  return folder.good() ? 0 : 1;
}

}  // namespace
}  // namespace farthing::fuzz

int main(int argc, char** argv) {
  return farthing::fuzz::run(argc, argv);
}
