#include "load/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "load/gguf_for_tests.h"
#include "load/model_file.h"

namespace farthing {
namespace {

using testing::encode;
using testing::GgufBytes;
using testing::GgufDoc;
using ::testing::HasSubstr;
using testing::meta;
using testing::tiny_llama;

class Writer : public ::testing::Test {
 protected:
  Writer() : folder_(::testing::TempDir() + "farthing_writer_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~Writer() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  size_t n_files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  std::string folder_;
};

// A document read and written again.
Status copy(const GgufBytes& file, const std::string& path, size_t piece = SIZE_MAX) {
  Allowance allowance;
  FARTHING_TRY(const GgufImage image, parse_gguf(file.span(), allowance));
  FARTHING_TRY(const auto entries, gguf_entries(file.span()));
  std::vector<GgufKey> keys;
  for (const GgufEntry& entry : entries) keys.push_back(gguf_key(entry));
  std::vector<GgufTensor> tensors;
  for (const TensorView& t : image.tensors) tensors.push_back({t.name, t.type, t.dims, t.n_dims});
  FARTHING_TRY(GgufWriter writer, GgufWriter::create(path, keys, tensors, image.alignment));
  for (const TensorView& t : image.tensors) {
    for (size_t at = 0; at < t.bytes.size(); at += std::min(piece, t.bytes.size() - at)) {
      FARTHING_TRY_VOID(writer.write(t.bytes.subspan(at, std::min(piece, t.bytes.size() - at))));
    }
  }
  return writer.finish();
}

TEST_F(Writer, AFileReadAndWrittenIsTheSameBytes) {
  GgufDoc doc = tiny_llama();
  doc.set(meta("a.byte", uint8_t{200}));
  doc.set(meta("a.short", int16_t{-3}));
  doc.set(meta("a.long", int64_t{-5'000'000'000}));
  doc.set(meta("a.double", 0.1));
  doc.set(meta("a.truth", false));
  doc.set(meta("a.list", std::vector<int8_t>{1, -2}));
  doc.set(meta("a.empty", std::vector<std::string>{}));
  unsigned char next = 0;
  for (auto& tensor : doc.tensors) {
    for (char& c : tensor.data) c = static_cast<char>(next += 37);
  }
  GgufBytes file = encode(doc);
  // The last tensor is padded too, which a reader doesn't mind and llama.cpp's writer does.
  file.bytes.resize((file.bytes.size() + 31) / 32 * 32);
  for (const size_t piece : {SIZE_MAX, size_t{1000}, size_t{17}}) {
    ASSERT_TRUE(copy(file, path("out.gguf"), piece));
    const auto written = read_file(path("out.gguf"), 1 << 24);
    ASSERT_TRUE(written);
    EXPECT_EQ(*written, file.bytes);
  }
  EXPECT_EQ(n_files(), 1u);
}

TEST_F(Writer, KeepsAnotherAlignment) {
  GgufDoc doc = tiny_llama();
  doc.alignment = 256;
  doc.set(meta("general.alignment", uint32_t{256}));
  ASSERT_TRUE(copy(encode(doc), path("out.gguf")));
  const auto read = open_model_file(path("out.gguf"));
  ASSERT_TRUE(read) << read.error().message;
  for (const TensorView& t : read->tensors)
    EXPECT_EQ((t.bytes.data() - read->files[0].bytes().data()) % 256, 0) << t.name;
}

TEST_F(Writer, WhatIsNotFinishedLeavesNothing) {
  {
    auto writer = GgufWriter::create(path("out.gguf"), {}, {{"a", DType::kF32, {8, 1, 1, 1}, 1}});
    ASSERT_TRUE(writer);
    const std::vector<std::byte> half(16);
    ASSERT_TRUE(writer->write(half));
    EXPECT_EQ(n_files(), 1u);
    const GgufWriter moved = *std::move(writer);
    EXPECT_EQ(n_files(), 1u);
  }
  EXPECT_EQ(n_files(), 0u);
}

TEST_F(Writer, AnOlderFileStaysUntilTheNewOneIsWhole) {
  const GgufBytes file = encode(tiny_llama());
  ASSERT_TRUE(copy(file, path("out.gguf")));
  const auto before = read_file(path("out.gguf"), 1 << 24);
  {
    auto writer = GgufWriter::create(path("out.gguf"), {}, {{"a", DType::kF32, {8, 1, 1, 1}, 1}});
    ASSERT_TRUE(writer);
  }
  EXPECT_EQ(*read_file(path("out.gguf"), 1 << 24), *before);
}

TEST_F(Writer, SaysWhyItCant) {
  const auto refusal = [&](const std::string& where) {
    const auto writer = GgufWriter::create(where, {}, {});
    EXPECT_FALSE(writer);
    if (writer) return std::string();
    EXPECT_EQ(writer.error().kind, ErrorKind::kNoResource);
    return writer.error().message;
  };
  EXPECT_THAT(refusal(path("none/out.gguf")), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder_), HasSubstr("no file"));
  EXPECT_THAT(refusal("/dev/null"), HasSubstr("no file"));
  EXPECT_EQ(n_files(), 0u);
}

TEST_F(Writer, AFullDiskIsAnErrorAtOnce) {
  // The limit of a file's size stands for the disk's: the calls fail alike.
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1 << 20, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto writer =
      GgufWriter::create(path("out.gguf"), {}, {{"a", DType::kF32, {1 << 20, 1, 1, 1}, 1}});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().kind, ErrorKind::kNoResource);
  EXPECT_THAT(writer.error().message, HasSubstr("4194"));
  EXPECT_EQ(n_files(), 0u);
}

TEST_F(Writer, MakesKeys) {
  const std::vector<GgufKey> keys = {gguf_key("general.type", "a \"text\""),
                                     gguf_key("a.number", 4'000'000'000u),
                                     gguf_key("a.words", std::vector<std::string>{"", "two"})};
  auto writer = GgufWriter::create(path("out.gguf"), keys, {});
  ASSERT_TRUE(writer && writer->finish());
  const auto bytes = read_file(path("out.gguf"), 1 << 20);
  Allowance allowance;
  const auto image = parse_gguf(std::as_bytes(std::span(*bytes)), allowance);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->version, 3u);
  EXPECT_EQ(**image->metadata.string("general.type"), "a \"text\"");
  EXPECT_EQ(**image->metadata.integer("a.number", 0, 1ll << 40), 4'000'000'000);
  EXPECT_EQ((**image->metadata.strings("a.words"))[1], "two");
}

}  // namespace
}  // namespace farthing
