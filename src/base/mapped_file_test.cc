#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/lost_pages.h"

namespace farthing {
namespace {

class MappedFileTest : public testing::Test {
 protected:
  MappedFileTest() : folder_(testing::TempDir() + "farthing_mapped_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~MappedFileTest() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, size_t bytes) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << std::string(bytes, 'x');
    return path;
  }

  std::string folder_;
};

int read_at(const MappedFile& file, size_t offset) {
  return std::to_integer<int>(*const_cast<const volatile std::byte*>(&file.bytes()[offset]));
}

TEST_F(MappedFileTest, HoldsTheBytesOfTheFile) {
  auto file_or = MappedFile::open(file("a", 10000));
  ASSERT_TRUE(file_or);
  MappedFile moved = *std::move(file_or);
  EXPECT_EQ(moved.bytes().size(), 10000u);
  EXPECT_EQ(read_at(moved, 9999), 'x');
  for (const std::string& bad : {folder_, folder_ + "/none", file("empty", 0)}) {
    const auto refused = MappedFile::open(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().kind, ErrorKind::kBadInput);
  }
}

// Of files alone: the thread sanitizer keeps several bytes for each that is read.
int64_t resident_file_bytes() {
  std::ifstream status("/proc/self/status");
  int64_t kib = 0, sum = 0;
  for (std::string word; status >> word;) {
    if ((word == "RssFile:" || word == "RssShmem:") && status >> kib) sum += kib;
  }
  return sum * 1024;
}

TEST_F(MappedFileTest, PagesComeBackAfterTheyAreDropped) {
  constexpr size_t kBytes = size_t{32} << 20;
  constexpr int64_t kNoise = int64_t{4} << 20;  // the kernel's counts lag behind a little
  const MappedFile mapped = *MappedFile::open(file("large", kBytes));
  const auto touch_all = [&] {
    for (size_t i = 0; i < kBytes; i += 4096) ASSERT_EQ(read_at(mapped, i), 'x');
  };
  const int64_t before = resident_file_bytes();
  mapped.want_pages(mapped.bytes());
  touch_all();
  EXPECT_GE(resident_file_bytes() - before, static_cast<int64_t>(kBytes) - kNoise);
  mapped.drop_pages(mapped.bytes().subspan(1));
  EXPECT_LE(resident_file_bytes() - before, kNoise);
  touch_all();
  // Of something else, or of nothing: no harm.
  const std::vector<std::byte> other(10000);
  mapped.want_pages(other);
  mapped.drop_pages(other);
  mapped.want_pages({});
  mapped.drop_pages({});
  EXPECT_EQ(other.front(), std::byte{0});
}

using MappedFileDeathTest = MappedFileTest;

TEST_F(MappedFileDeathTest, TruncatedUnderTheMapEndsWithALine) {
  const std::string whole = file("whole.gguf", 100000);
  const std::string cut = file("cut\n.gguf", 100000);
  EXPECT_EXIT(
      {
        explain_lost_pages();
        MappedFile first = *MappedFile::open(whole);
        MappedFile second = *MappedFile::open(cut);
        MappedFile moved = std::move(second);
        if (::truncate(cut.c_str(), 4096) != 0) _exit(98);
        read_at(first, 90000);
        read_at(moved, 0);
        read_at(moved, 90000);
        _exit(99);
      },
      testing::ExitedWithCode(3),
      R"(^error: [^
]*cut\\n\.gguf: a part of it is gone: [^
]*
$)");
}

// Neither a fault elsewhere, nor in a file that is no longer mapped, nor a signal that someone
// sends is explained.
TEST_F(MappedFileDeathTest, AnyOtherBusErrorKillsAsEver) {
  const std::string path = file("a", 100000);
  EXPECT_EXIT(
      {
        explain_lost_pages();
        MappedFile file = *MappedFile::open(path);
        ::raise(SIGBUS);
        _exit(99);
      },
      testing::KilledBySignal(SIGBUS),
      "");
  EXPECT_EXIT(
      {
        explain_lost_pages();
        {
          MappedFile gone = *MappedFile::open(path);
        }
        std::FILE* other = std::fopen(path.c_str(), "r+");
        void* map = mmap(nullptr, 100000, PROT_READ, MAP_SHARED, fileno(other), 0);
        if (::truncate(path.c_str(), 4096) != 0) _exit(98);
        [[maybe_unused]] const char c = static_cast<const volatile char*>(map)[90000];
        _exit(99);
      },
      testing::KilledBySignal(SIGBUS),
      "");
}

// More maps than the list has places: the last ones have no line, but work.
TEST_F(MappedFileTest, PlacesInTheListAreGivenBack) {
  const std::string path = file("a", 1);
  for (int round = 0; round < 2; ++round) {
    std::vector<MappedFile> files;
    for (int i = 0; i < 2500; ++i) {
      auto opened = MappedFile::open(path);
      ASSERT_TRUE(opened) << opened.error().message;
      files.push_back(*std::move(opened));
    }
    EXPECT_EQ(read_at(files.back(), 0), 'x');
  }
  const std::string cut = file("cut.gguf", 100000);
  EXPECT_EXIT(
      {
        explain_lost_pages();
        MappedFile file = *MappedFile::open(cut);
        if (::truncate(cut.c_str(), 4096) != 0) _exit(98);
        read_at(file, 90000);
        _exit(99);
      },
      testing::ExitedWithCode(3),
      "cut.gguf: a part of it is gone");
}

}  // namespace
}  // namespace farthing
