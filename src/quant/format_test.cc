#include "quant/format.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace farthing {
namespace {

// A golden: u64 count, then two arrays. See tests/golden/quant/make.py.
struct Golden {
  uint64_t count = 0;
  std::string rest;
};

Golden read_golden(const std::string& name) {
  auto text = read_file(std::string(FARTHING_SOURCE_DIR) + "/tests/golden/quant/" + name, 1 << 20);
  EXPECT_TRUE(text) << name;
  Golden golden;
  if (!text || text->size() < 8) return golden;
  std::memcpy(&golden.count, text->data(), 8);
  golden.rest = text->substr(8);
  return golden;
}

const std::byte* bytes_of(const std::string& s) {
  return reinterpret_cast<const std::byte*>(s.data());
}

class EveryFormat : public testing::TestWithParam<Format> {};

TEST_P(EveryFormat, DecodesAsTheReferenceBitForBit) {
  const Format& f = GetParam();
  const Golden golden = read_golden(std::string(f.name) + ".bin");
  ASSERT_GT(golden.count, 0u);
  ASSERT_EQ(golden.count % f.qblock_bytes, 0u);
  const int64_t n = static_cast<int64_t>(golden.count) / f.qblock_bytes * f.qblock_values;
  ASSERT_EQ(golden.rest.size(), golden.count + n * sizeof(float));
  EXPECT_EQ(bytes_for(f.type, n), static_cast<int64_t>(golden.count));

  std::vector<float> want(n), got(n + 1, 12345.0f);
  std::memcpy(want.data(), golden.rest.data() + golden.count, n * sizeof(float));
  f.decode(bytes_of(golden.rest), got.data(), n);
  int64_t finite = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << f.name << " value " << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
          << f.name << " value " << i << ": " << got[i] << " against " << want[i];
      ++finite;
    }
  }
  EXPECT_GT(finite, n / 2);
  EXPECT_EQ(got[n], 12345.0f) << "wrote past its end";
}

TEST_P(EveryFormat, DecodesFromAnyAlignment) {
  const Format& f = GetParam();
  const Golden golden = read_golden(std::string(f.name) + ".bin");
  const int64_t n = 4 * f.qblock_values;
  std::vector<float> aligned(n), shifted(n);
  f.decode(bytes_of(golden.rest), aligned.data(), n);
  const std::string moved = "x" + golden.rest;
  f.decode(bytes_of(moved) + 1, shifted.data(), n);
  EXPECT_EQ(std::memcmp(aligned.data(), shifted.data(), n * sizeof(float)), 0);
}

TEST_P(EveryFormat, IsFoundByNumberAndName) {
  const Format& f = GetParam();
  EXPECT_EQ(format_from_ggml(f.ggml_type),
            f.ggml_type == kNoGgmlType ? nullptr : &format_of(f.type));
  EXPECT_EQ(&format_of(f.type), format_from_name(f.name));
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         EveryFormat,
                         testing::ValuesIn(all_formats().begin(), all_formats().end()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Formats, UnknownNumbersAndNamesAreNone) {
  for (uint32_t number : {4u, 5u, 9u, 15u, 16u, 31u, 36u, 40u, 1000u, ~0u}) {
    EXPECT_EQ(format_from_ggml(number), nullptr) << number;
  }
  EXPECT_EQ(format_from_name("q4_k"), nullptr);
  EXPECT_EQ(format_from_name(""), nullptr);
}

TEST(Formats, Q8_0EncodesAsTheReferenceByteForByte) {
  const Golden golden = read_golden("Q8_0.encode.bin");
  const int64_t n = static_cast<int64_t>(golden.count);
  const size_t n_bytes = static_cast<size_t>(bytes_for(DType::kQ8_0, n));
  ASSERT_EQ(golden.rest.size(), n * sizeof(float) + n_bytes);
  std::vector<float> x(n);
  std::memcpy(x.data(), golden.rest.data(), n * sizeof(float));
  std::vector<std::byte> got(n_bytes);
  format_of(DType::kQ8_0).encode(x.data(), got.data(), n);
  for (size_t i = 0; i < n_bytes; ++i) {
    ASSERT_EQ(static_cast<int>(got[i]),
              static_cast<int>(bytes_of(golden.rest)[n * sizeof(float) + i]))
        << "block " << i / 34 << " byte " << i % 34;
  }
}

TEST(Formats, Q8_0KeepsNansAndFlushesWhatHasNoScale) {
  const Format& f = format_of(DType::kQ8_0);
  std::vector<std::byte> bytes(34);
  std::vector<float> x(32, 1.0f), back(32);
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    x[5] = bad;
    f.encode(x.data(), bytes.data(), 32);
    f.decode(bytes.data(), back.data(), 32);
    for (float v : back) EXPECT_TRUE(std::isnan(v));
  }
  x.assign(32, 1e-44f);
  f.encode(x.data(), bytes.data(), 32);
  f.decode(bytes.data(), back.data(), 32);
  for (float v : back) EXPECT_EQ(v, 0.0f);
}

TEST(Formats, PlainTypesEncodeWhatTheyDecode) {
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    const Format& f = format_of(type);
    const std::vector<float> x = {0.0f, -0.0f, 1.0f, -2.5f, 0x1p-14f, 0x1p15f};
    std::vector<std::byte> bytes(bytes_for(type, static_cast<int64_t>(x.size())));
    std::vector<float> back(x.size());
    f.encode(x.data(), bytes.data(), static_cast<int64_t>(x.size()));
    f.decode(bytes.data(), back.data(), static_cast<int64_t>(x.size()));
    EXPECT_EQ(std::memcmp(x.data(), back.data(), x.size() * sizeof(float)), 0) << f.name;
  }
}

}  // namespace
}  // namespace farthing
