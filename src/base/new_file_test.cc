#include "base/new_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace farthing {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class NewFiles : public testing::Test {
 protected:
  NewFiles() : folder_(testing::TempDir() + "farthing_new_file_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~NewFiles() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void put(const std::string& name, std::string_view text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  std::string get(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  int n_files() const {
    return static_cast<int>(std::distance(fs::directory_iterator(folder_), {}));
  }
  static std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }

  std::string folder_;
};

TEST_F(NewFiles, TakesItsNameWhenItIsWhole) {
  put("a", "older");
  auto file = NewFile::create(path("a"), 5);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_TRUE(file->write(bytes("ne")) && file->write(bytes("wer")));
  EXPECT_EQ(get("a"), "older");
  ASSERT_TRUE(file->finish());
  EXPECT_EQ(get("a"), "newer");
  EXPECT_EQ(n_files(), 1);
}

TEST_F(NewFiles, LeavesNothingUnfinished) {
  {
    auto file = NewFile::create(path("a"), 4);
    ASSERT_TRUE(file && file->write(bytes("abcd")));
    EXPECT_EQ(n_files(), 1);
  }
  EXPECT_EQ(n_files(), 0);
}

// Two runs that write the same file must not write into each other's; nor is a file lost that
// happens to have that name.
TEST_F(NewFiles, TouchesNothingThatIsThere) {
  std::optional<NewFile> first;
  {
    auto made = NewFile::create(path("a"), 1);
    ASSERT_TRUE(made);
    first.emplace(*std::move(made));
  }
  const auto second = NewFile::create(path("a"), 1);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::kNoResource);
  EXPECT_THAT(second.error().message, HasSubstr("a.part: is there already"));
  ASSERT_TRUE(first->write(bytes("x")) && first->finish());
  EXPECT_EQ(get("a"), "x");

  put("b.part", "a user's");
  put("other", "another's");
  fs::create_symlink("other", path("c.part"));
  for (const char* name : {"b", "c"}) {
    EXPECT_FALSE(NewFile::create(path(name), 1));
    EXPECT_FALSE(NewFile::check(path(name)));
  }
  EXPECT_EQ(get("b.part"), "a user's");
  EXPECT_EQ(get("other"), "another's");
}

TEST_F(NewFiles, ChecksWithoutATrace) {
  put("a", "older");
  EXPECT_TRUE(NewFile::check(path("a")));
  EXPECT_TRUE(NewFile::check(path("b")));
  for (const std::string& where : {path("none/a"), folder_, std::string("/dev/null")}) {
    const auto status = NewFile::check(where);
    ASSERT_FALSE(status) << where;
    EXPECT_EQ(status.error().kind, ErrorKind::kNoResource);
    EXPECT_THAT(status.error().message, HasSubstr(where));
  }
  EXPECT_EQ(get("a"), "older");
  EXPECT_EQ(n_files(), 1);
}

}  // namespace
}  // namespace farthing
