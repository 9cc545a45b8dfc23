#include "load/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "load/gguf_for_tests.h"

namespace farthing {
namespace {

using testing::encode;
using testing::GgufBytes;
using testing::GgufDoc;
using ::testing::HasSubstr;
using testing::meta;
using testing::raw;
using testing::tiny_llama;
using testing::TinyLlama;

Result<GgufImage> parse(const GgufBytes& file) {
  Allowance allowance;
  return parse_gguf(file.span(), allowance);
}

std::string refusal(const GgufBytes& file) {
  const auto image = parse(file);
  if (image) return "accepted";
  EXPECT_EQ(image.error().kind, ErrorKind::kBadInput);
  EXPECT_EQ(image.error().message.find('\n'), std::string::npos);
  return image.error().message;
}

TEST(Gguf, ReadsEveryTypeInVersions2And3) {
  for (uint32_t version : {2U, 3U}) {
    GgufDoc doc;
    doc.version = version;
    doc.keys = {meta("u8", uint8_t{255}),
                meta("i8", int8_t{-128}),
                meta("u16", uint16_t{65535}),
                meta("i16", int16_t{-32768}),
                meta("u32", uint32_t{4294967295}),
                meta("i32", int32_t{-2147483647}),
                meta("u64", uint64_t{18446744073709551615U}),
                meta("i64", int64_t{-9223372036854775807}),
                meta("f32", 0.5F),
                meta("f64", 0.1),
                meta("yes", true),
                meta("text", "caf\xC3\xA9"),
                meta("list", std::vector<int32_t>{1, -2, 3}),
                meta("words", std::vector<std::string>{"a", "", "ccc"})};
    doc.tensors = {TinyLlama::f32("a", {3}), TinyLlama::q8_0("b", {64, 2})};
    const GgufBytes file = encode(doc);
    const auto image = parse(file);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->version, version);
    const Metadata& m = image->metadata;
    EXPECT_EQ(std::get<uint64_t>(*m.find("u8")), 255U);
    EXPECT_EQ(std::get<int64_t>(*m.find("i8")), -128);
    EXPECT_EQ(std::get<uint64_t>(*m.find("u16")), 65535U);
    EXPECT_EQ(std::get<int64_t>(*m.find("i16")), -32768);
    EXPECT_EQ(std::get<uint64_t>(*m.find("u32")), 4294967295U);
    EXPECT_EQ(std::get<int64_t>(*m.find("i32")), -2147483647);
    EXPECT_EQ(std::get<uint64_t>(*m.find("u64")), 18446744073709551615U);
    EXPECT_EQ(std::get<int64_t>(*m.find("i64")), -9223372036854775807);
    EXPECT_EQ(std::get<double>(*m.find("f32")), 0.5);
    EXPECT_EQ(std::get<double>(*m.find("f64")), 0.1);
    EXPECT_EQ(std::get<bool>(*m.find("yes")), true);
    EXPECT_EQ(std::get<std::string>(*m.find("text")), "caf\xC3\xA9");
    EXPECT_EQ(**m.integers("list", -5, 5), (std::vector<int64_t>{1, -2, 3}));
    EXPECT_EQ(**m.strings("words"), (std::vector<std::string>{"a", "", "ccc"}));
    ASSERT_EQ(image->tensors.size(), 2U);
    EXPECT_EQ(image->tensors[0].bytes.size(), 12U);
    EXPECT_EQ(image->tensors[1].cols(), 64);
    EXPECT_EQ(image->tensors[1].rows(), 2);
    EXPECT_EQ(image->tensors[1].bytes.size(), 2U * 68);
    EXPECT_EQ(image->tensors[1].bytes.data(), file.span().data() + file.data_offset + 32);
  }
}

struct Refused {
  const char* what;
  std::function<void(GgufDoc&)> damage;
  const char* message;  // part of it
};

TEST(Gguf, RefusesWithKeyOrOffset) {
  const auto tensor = [](auto change) {
    return [change](GgufDoc& doc) { change(doc.tensor("blk.0.attn_q.weight")); };
  };
  const Refused cases[] = {
      {"magic", [](GgufDoc& d) { d.magic = "GGUE"; }, "offset 0: not a GGUF file"},
      {"old magic", [](GgufDoc& d) { d.magic = "tjgg"; }, "offset 0: an old GGML file"},
      {"version 0", [](GgufDoc& d) { d.version = 0; }, "offset 4: GGUF version 0"},
      {"version 1", [](GgufDoc& d) { d.version = 1; }, "offset 4: GGUF version 1 is no longer"},
      {"version 4", [](GgufDoc& d) { d.version = 4; }, "offset 4: GGUF version 4 is unknown"},
      {"big endian", [](GgufDoc& d) { d.version = 0x03000000; }, "big-endian"},
      {"empty key", [](GgufDoc& d) { d.keys[1].key = ""; }, "an empty key"},
      {"same key",
       [](GgufDoc& d) { d.keys[1].key = "general.architecture"; },
       "occurs a second time"},
      {"long key", [](GgufDoc& d) { d.keys[0].key = std::string(65536, 'k'); }, "65536 bytes long"},
      {"hostile key",
       [](GgufDoc& d) {
         d.keys[0].key = "a\n\x1b[2J";
         d.keys[1].key = d.keys[0].key;
       },
       "key 'a\\n\\u{1b}[2J': occurs"},
      {"value type",
       [](GgufDoc& d) { d.keys[1].type = static_cast<MetaType>(13); },
       "unknown value type 13"},
      {"boolean",
       [](GgufDoc& d) { d.set({"b", MetaType::kBool, "\x02", {}, {}}); },
       "a boolean is 2"},
      {"array of arrays",
       [](GgufDoc& d) { d.set({"x", MetaType::kArray, "", MetaType::kArray, {}}); },
       "key 'x': offset"},
      {"array type",
       [](GgufDoc& d) { d.set({"x", MetaType::kArray, "", static_cast<MetaType>(99), {}}); },
       "unknown element type 99"},
      {"alignment 0",
       [](GgufDoc& d) { d.set(meta("general.alignment", uint32_t{0})); },
       "key 'general.alignment'"},
      {"alignment 4",
       [](GgufDoc& d) { d.set(meta("general.alignment", uint32_t{4})); },
       "key 'general.alignment'"},
      {"alignment 48",
       [](GgufDoc& d) { d.set(meta("general.alignment", uint32_t{48})); },
       "not a power of two"},
      {"alignment 2 MiB",
       [](GgufDoc& d) { d.set(meta("general.alignment", uint32_t{2097152})); },
       "outside [8, 1048576]"},
      {"alignment text",
       [](GgufDoc& d) { d.set(meta("general.alignment", "32")); },
       "holds a string"},
      {"no name", tensor([](auto& t) { t.name = ""; }), "an empty name"},
      {"long name",
       tensor([](auto& t) { t.name = std::string(65, 'n'); }),
       "name is 65 bytes long"},
      {"5 dimensions", tensor([](auto& t) { t.dims = {32, 1, 1, 1, 1}; }), "5 dimensions"},
      {"dimension 0", tensor([](auto& t) { t.dims = {64, 0}; }), "dimension 1 is 0"},
      {"dimension 2^63", tensor([](auto& t) { t.dims = {uint64_t{1} << 63}; }), "more values"},
      {"product wraps",
       tensor([](auto& t) { t.dims = {uint64_t{1} << 32, uint64_t{1} << 32}; }),
       "more values"},
      {"product wraps to few",
       tensor([](auto& t) { t.dims = {uint64_t{1} << 62, 4, 2}; }),
       "tensor 'blk.0.attn_q.weight': offset"},
      {"bytes wrap",
       tensor([](auto& t) {
         t.dims = {uint64_t{1} << 62};
         t.type = 0;
       }),
       "more bytes"},
      {"type", tensor([](auto& t) { t.type = 77; }), "type 77 is unknown"},
      {"removed type", tensor([](auto& t) { t.type = 4; }), "type 4 is unknown"},
      {"part of a block",
       tensor([](auto& t) { t.dims = {48, 64}; }),
       "no whole number of Q8_0 blocks"},
      {"unaligned", tensor([](auto& t) { t.offset = 33; }), "no multiple of the alignment 32"},
      {"past the end",
       tensor([](auto& t) { t.offset = uint64_t{1} << 20; }),
       "beyond the end of the file"},
      {"offset wraps",
       tensor([](auto& t) { t.offset = ~uint64_t{31}; }),
       "beyond the end of the file"},
      {"too large", tensor([](auto& t) { t.dims = {64, 1 << 20}; }), "beyond the end of the file"},
      {"overlap", tensor([](auto& t) { t.offset = 0; }), "overlaps tensor"},
  };
  for (const Refused& c : cases) {
    GgufDoc doc = tiny_llama();
    c.damage(doc);
    EXPECT_THAT(refusal(encode(doc)), HasSubstr(c.message)) << c.what;
  }
}

TEST(Gguf, TruncationAnywhereInTheDirectoryIsRefused) {
  const GgufBytes file = encode(tiny_llama());
  for (size_t n = 0; n < file.data_offset; ++n) {
    Allowance allowance;
    // A copy of exactly n bytes, so that AddressSanitizer sees a read past them.
    const std::vector<char> cut(file.bytes.begin(), file.bytes.begin() + static_cast<ptrdiff_t>(n));
    ASSERT_FALSE(parse_gguf(std::as_bytes(std::span(cut)), allowance)) << n;
  }
}

// Counts that the file can't hold are refused before anything is allocated for them.
TEST(Gguf, CountsAreBoundedByTheBytesThatFollow) {
  const GgufBytes good = encode(tiny_llama());
  for (const auto& field : good.fields) {
    if (field.bytes != 8) continue;
    for (uint64_t value : {uint64_t{1} << 32, uint64_t{1} << 60, ~uint64_t{0}}) {
      GgufBytes bad = good;
      bad.bytes.replace(field.offset, 8, raw(value));
      EXPECT_NE(refusal(bad), "accepted") << field.name << " = " << value;
    }
  }
}

TEST(Gguf, AlignmentMayDifferAndTensorsMayComeInAnyOrder) {
  for (uint32_t alignment : {8U, 16U, 64U, 4096U}) {
    GgufDoc doc = tiny_llama();
    doc.alignment = alignment;
    doc.set(meta("general.alignment", alignment));
    const GgufBytes file = encode(doc);
    const auto image = parse(file);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->alignment, alignment);
    EXPECT_EQ(image->data_offset % alignment, 0U);
  }
  GgufDoc doc;
  doc.tensors = {TinyLlama::f32("late", {8}), TinyLlama::f32("early", {8})};
  doc.tensors[0].offset = 32;
  doc.tensors[1].offset = 0;
  EXPECT_TRUE(parse(encode(doc)));
}

TEST(Gguf, MemoryIsLimited) {
  GgufDoc doc;
  for (int i = 0; i < 5; ++i) doc.set(meta("k" + std::to_string(i), std::string(15 << 20, 'x')));
  EXPECT_THAT(refusal(encode(doc)), HasSubstr("key 'k3': metadata and vocabulary need more than"));
  doc.keys = {meta("long", std::string((16 << 20) + 1, 'x'))};
  EXPECT_THAT(refusal(encode(doc)), HasSubstr("key 'long'"));
}

}  // namespace
}  // namespace farthing
