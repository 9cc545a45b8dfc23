// The slow twin of the integer matmul: the arithmetic that kernels/simd/tile_matmul.h states, one
// number at a time on the file's blocks. Every Isa's result is its result to the last bit.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "kernels/act.h"
#include "kernels/test_util.h"
#include "quant/layout.h"
#include "quant/tile.h"

namespace farthing {
namespace {

// 32 weights as integers and what they are multiplied by: weight i is
// scale[i / 16] * q[i] + min[i / 16].
struct Group {
  std::array<int, 32> q{};
  std::array<float, 2> scale{};
  std::array<float, 2> min{};
  bool has_min = false;
  bool has_halves = false;
};

float half(uint16_t bits) {
  return f16_to_f32(bits);
}
int nibble(const uint8_t* qs, int i) {  // of value i of 32
  return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

template <class QBlock>
const QBlock& block_at(const std::byte* row, int64_t index) {
  return *reinterpret_cast<const QBlock*>(row + index * static_cast<int64_t>(sizeof(QBlock)));
}

template <class Value>
Group whole(float scale, Value value) {
  Group group{.scale = {scale, scale}};
  for (int i = 0; i < 32; ++i) group.q[static_cast<size_t>(i)] = value(i);
  return group;
}
Group with_min(Group group, float min) {
  group.min = {min, min};
  group.has_min = true;
  return group;
}
Group in_halves(Group group, float low, float high) {
  group.scale = {low, high};
  group.has_halves = true;
  return group;
}

// Group g of a row in the file's layout, by quant/layout.h alone.
Group group_of(DType type, const std::byte* row, int64_t g) {
  const int64_t super = g / 8;            // of formats with 256 values per block
  const int s = static_cast<int>(g % 8);  // group of 32 in it
  switch (type) {
    case DType::kQ8_0: {
      const auto& b = block_at<QBlockQ8_0>(row, g);
      return whole(half(b.d), [&](int i) { return int{b.qs[i]}; });
    }
    case DType::kQ4_0: {
      const auto& b = block_at<QBlockQ4_0>(row, g);
      return whole(half(b.d), [&](int i) { return nibble(b.qs, i) - 8; });
    }
    case DType::kIQ4_NL: {
      const auto& b = block_at<QBlockIQ4_NL>(row, g);
      return whole(half(b.d), [&](int i) { return int{kIQ4Values[nibble(b.qs, i)]}; });
    }
    case DType::kMXFP4: {
      const auto& b = block_at<QBlockMXFP4>(row, g);
      return whole(e8m0_half(b.e), [&](int i) { return int{kMXFP4Values[nibble(b.qs, i)]}; });
    }
    case DType::kQ4_1: {
      const auto& b = block_at<QBlockQ4_1>(row, g);
      return with_min(whole(half(b.d), [&](int i) { return nibble(b.qs, i); }), half(b.m));
    }
    case DType::kQ5_0: {
      const auto& b = block_at<QBlockQ5_0>(row, g);
      const uint32_t high = b.qh;
      return whole(half(b.d), [&](int i) {
        return (nibble(b.qs, i) | static_cast<int>(high >> i & 1) << 4) - 16;
      });
    }
    case DType::kQ5_1: {
      const auto& b = block_at<QBlockQ5_1>(row, g);
      const uint32_t high = b.qh;
      return with_min(
          whole(half(b.d),
                [&](int i) { return nibble(b.qs, i) | static_cast<int>(high >> i & 1) << 4; }),
          half(b.m));
    }
    case DType::kQ4_K: {
      const auto& b = block_at<QBlockQ4_K>(row, super);
      const ScaleMin factors = scale_min_k4(b.scales, s);
      return with_min(whole(half(b.d) * factors.scale,
                            [&](int i) { return b.qs[s / 2 * 32 + i] >> (s % 2 * 4) & 15; }),
                      -half(b.dmin) * factors.min);
    }
    case DType::kQ5_K: {
      const auto& b = block_at<QBlockQ5_K>(row, super);
      const ScaleMin factors = scale_min_k4(b.scales, s);
      return with_min(whole(half(b.d) * factors.scale,
                            [&](int i) {
                              return (b.qs[s / 2 * 32 + i] >> (s % 2 * 4) & 15) | (b.qh[i] >> s & 1)
                                                                                      << 4;
                            }),
                      -half(b.dmin) * factors.min);
    }
    case DType::kQ6_K: {
      const auto& b = block_at<QBlockQ6_K>(row, super);
      const int part = s / 4, shift = s % 4;
      return in_halves(whole(0,
                             [&](int i) {
                               const int low =
                                   b.ql[64 * part + shift % 2 * 32 + i] >> (shift / 2 * 4) & 15;
                               const int high = b.qh[32 * part + i] >> (2 * shift) & 3;
                               return (low | high << 4) - 32;
                             }),
                       half(b.d) * b.scales[2 * s],
                       half(b.d) * b.scales[2 * s + 1]);
    }
    case DType::kQ2_K: {
      const auto& b = block_at<QBlockQ2_K>(row, super);
      const uint8_t low = b.scales[2 * s], high = b.scales[2 * s + 1];
      Group group =
          in_halves(whole(0, [&](int i) { return b.qs[32 * (s / 4) + i] >> (2 * (s % 4)) & 3; }),
                    half(b.d) * (low & 15),
                    half(b.d) * (high & 15));
      group.min = {-half(b.dmin) * (low >> 4), -half(b.dmin) * (high >> 4)};
      group.has_min = true;
      return group;
    }
    case DType::kQ3_K: {
      const auto& b = block_at<QBlockQ3_K>(row, super);
      return in_halves(whole(0,
                             [&](int i) {
                               const int low = b.qs[32 * (s / 4) + i] >> (2 * (s % 4)) & 3;
                               return (low | (b.hmask[i] >> s & 1) << 2) - 4;
                             }),
                       half(b.d) * scale_q3_k(b.scales, 2 * s),
                       half(b.d) * scale_q3_k(b.scales, 2 * s + 1));
    }
    case DType::kIQ4_XS: {
      const auto& b = block_at<QBlockIQ4_XS>(row, super);
      return whole(half(b.d) * scale_iq4_xs(b, s),
                   [&](int i) { return int{kIQ4Values[nibble(b.qs + 16 * s, i)]}; });
    }
    default:
      ADD_FAILURE() << "no twin of " << format_of(type).name;
      return {};
  }
}

float twin(DType type, const std::byte* row, const ActGroup* act, int64_t cols) {
  float acc = 0;
  for (int64_t g = 0; g < cols / kActGroup; ++g, ++act) {
    const Group w = group_of(type, row, g);
    std::array<int32_t, 2> sum{};
    for (size_t i = 0; i < 32; ++i) sum[i / 16] += w.q[i] * act->q[i];
    if (w.has_halves) {
      for (size_t h = 0; h < 2; ++h)
        acc = std::fma(static_cast<float>(sum[h]), w.scale[h] * act->scale, acc);
      if (!w.has_min) continue;
      acc = std::fma(w.min[0], act->sum_low, acc);
      acc = std::fma(w.min[1], act->sum_high, acc);
    } else {
      acc = std::fma(static_cast<float>(sum[0] + sum[1]), w.scale[0] * act->scale, acc);
      if (w.has_min) acc = std::fma(w.min[0], act->sum, acc);
    }
  }
  return acc;
}

enum class Weights { kRandom, kAllBitsSet, kAllBitsClear, kAlternating };

// Integers, scales and minimums at the ends of their range; d and dmin stay finite.
void make_extreme(DType type, Weights kind, int64_t n_blocks, std::byte* weights) {
  const int64_t size = format_of(type).qblock_bytes;
  for (int64_t b = 0; b < n_blocks; ++b, weights += size) {
    for (int64_t i = 0; i < size; ++i) {
      const int byte = kind == Weights::kAllBitsSet     ? 0xff
                       : kind == Weights::kAllBitsClear ? 0
                       : (i + b) % 2 == 0               ? 0x80
                                                        : 0x7f;
      weights[i] = static_cast<std::byte>(byte);
    }
    for (int offset : test::factor_offsets(type)) {
      const uint16_t largest = 0x7bff;  // 65504
      std::memcpy(weights + offset, &largest, 2);
    }
    if (type == DType::kMXFP4) weights[0] = static_cast<std::byte>(b % 2 == 0 ? 0 : 200);
  }
}

class IntegerTwin : public testing::TestWithParam<Format> {
 protected:
  // Every Isa against the twin, for these weights and activations of two rows' blocks of tokens.
  void expect_twin(const std::vector<std::byte>& weights,
                   int64_t rows,
                   int64_t cols,
                   const std::vector<float>& x,
                   const char* what) {
    const DType type = GetParam().type;
    const int32_t n_tokens = static_cast<int32_t>(static_cast<int64_t>(x.size()) / cols);
    const int64_t row_bytes = bytes_for(type, cols), n_tiles = ceil_div(rows, kTileRows);
    test::Guarded tiles(static_cast<size_t>(tiled_bytes(type, rows, cols)));
    for (int64_t t = 0; t < n_tiles; ++t) {
      pack_tile(type,
                weights.data() + t * kTileRows * row_bytes,
                std::min(kTileRows, rows - t * kTileRows),
                cols,
                tiles.data() + t * tile_bytes(type, cols));
    }
    std::vector<ActGroup> groups(static_cast<size_t>(cols / kActGroup));
    for (Isa isa : supported_isas()) {
      const KernelTable& table = kernel_table(isa);
      if (table.act_format[static_cast<size_t>(type)] != ActFormat::kQ8_32) continue;
      std::vector<ActGroup> act(static_cast<size_t>(act_bytes(n_tokens, cols)) / sizeof(ActGroup));
      for (int32_t t = 0; t < n_tokens; ++t) {
        const int32_t in_block = t % kActBlockTokens;
        const ActBlock block = act_block(cols, n_tokens, t - in_block);
        table.pack_q8_32(x.data() + t * cols,
                         cols,
                         reinterpret_cast<std::byte*>(act.data()) + block.offset + in_block * 64,
                         block.group_stride);
      }
      std::vector<float> out(static_cast<size_t>(rows * n_tokens));
      table.matmul[static_cast<size_t>(type)](
          {.tiles = tiles.data(),
           .rows = rows,
           .cols = cols,
           .act = reinterpret_cast<const std::byte*>(act.data()),
           .act_stride = 0,
           .n_tokens = n_tokens,
           .out = out.data(),
           .out_stride = rows,
           .tile_begin = 0,
           .tile_end = n_tiles,
           .accumulate = false,
           .far = 0});
      for (int32_t t = 0; t < n_tokens; ++t) {
        ref_kernels().pack_q8_32(
            x.data() + t * cols, cols, reinterpret_cast<std::byte*>(groups.data()), 64);
        for (int64_t r = 0; r < rows; ++r) {
          const float want = twin(type, weights.data() + r * row_bytes, groups.data(), cols);
          const float got = out[static_cast<size_t>(t * rows + r)];
          ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(want))
              << GetParam().name << " " << isa_name(isa) << " " << what << ", row " << r
              << ", token " << t << ": " << got << " for " << want;
        }
      }
    }
  }
};

TEST_P(IntegerTwin, EveryIsaGivesItsBits) {
  const DType type = GetParam().type;
  const int64_t cols = type == DType::kMXFP4 || GetParam().qblock_values == 32 ? 96 : 768;
  const int64_t rows = 35;
  std::vector<std::byte> weights(static_cast<size_t>(bytes_for(type, rows * cols)));
  test::fill_weights(type, rows * cols, 21, weights.data());
  // Few tokens, and as many as go to the kernel for many.
  for (int64_t n_tokens : {1, 3, 16, 70})
    expect_twin(weights, rows, cols, test::random_floats(n_tokens * cols, 22), "random weights");
}

TEST_P(IntegerTwin, EveryIsaGivesItsBitsAtTheEndsOfTheRange) {
  const DType type = GetParam().type;
  const int64_t cols = GetParam().qblock_values == 32 ? 64 : 512, rows = 17, n_tokens = 70;
  const int64_t n_blocks = rows * cols / GetParam().qblock_values;
  std::vector<std::byte> weights(static_cast<size_t>(bytes_for(type, rows * cols)));
  std::vector<float> x(static_cast<size_t>(n_tokens * cols));
  for (size_t i = 0; i < x.size(); ++i) {
    // Tokens of +127, of -127, and of both by turns: the largest sums that there are.
    const size_t token = i / static_cast<size_t>(cols);
    x[i] = token % 3 == 0 || (token % 3 == 2 && i % 2 == 0) ? 1.0f : -1.0f;
  }
  for (Weights kind : {Weights::kAllBitsSet, Weights::kAllBitsClear, Weights::kAlternating}) {
    make_extreme(type, kind, n_blocks, weights.data());
    expect_twin(weights, rows, cols, x, "extreme weights");
  }
}

std::vector<Format> integer_formats() {
  std::vector<Format> formats;
  for (const Format& f : all_formats())
    if (f.qblock_values > 1) formats.push_back(f);
  return formats;
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         IntegerTwin,
                         testing::ValuesIn(integer_formats()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace farthing
