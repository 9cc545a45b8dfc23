#include "quant/tile.h"

#include <emmintrin.h>

#include <array>
#include <cstring>

#include "base/checked.h"
#include "quant/layout.h"

namespace farthing {
namespace {

// A field of a quant block and its place in the unit: `from` in the block, `to + step * b` in the
// unit for its b-th block.
struct Field {
  int from, bytes, to, step;
};

// What isn't moved as it is.
enum class Twist : uint8_t { kNone, kFifthBits, kBias };

struct Layout {
  TileUnit unit;
  int n_blocks;  // quant blocks in a unit
  std::array<Field, 3> fields;
  Twist twist;
  int twist_from, twist_bytes;  // the part of the unit it applies to
};

constexpr Layout plain(int64_t bytes) {
  return {{1, bytes, bytes}, 1, {Field{0, static_cast<int>(bytes), 0, 0}}, Twist::kNone, 0, 0};
}
// The block as it is, with zeroes up to the granule.
template <class Block>
constexpr Layout whole(int64_t values) {
  constexpr int kBytes = sizeof(Block);
  return {{values, (kBytes + 3) / 4 * 4, 4}, 1, {Field{0, kBytes, 0, 0}}, Twist::kNone, 0, 0};
}

constexpr Layout layout_of(DType type) {
  switch (type) {
    case DType::kF32:
      return plain(4);
    case DType::kF16:
    case DType::kBF16:
      return plain(2);
    case DType::kQ8_0:
      return {{64, sizeof(UnitQ8_0), 4},
              2,
              {Field{0, 2, 0, 2}, Field{2, 32, 4, 32}},
              Twist::kBias,
              offsetof(UnitQ8_0, qs),
              64};
    case DType::kQ4_0:
    case DType::kIQ4_NL:
      return {{64, sizeof(UnitQ4_0), 4},
              2,
              {Field{0, 2, 0, 2}, Field{2, 16, 4, 16}},
              Twist::kNone,
              0,
              0};
    case DType::kQ5_0:
      return {{64, sizeof(UnitQ5_0), 4},
              2,
              {Field{0, 2, 0, 2}, Field{2, 4, 4, 4}, Field{6, 16, 12, 16}},
              Twist::kFifthBits,
              offsetof(UnitQ5_0, qh),
              8};
    case DType::kQ5_1: {
      Layout layout = whole<QBlockQ5_1>(32);
      layout.twist = Twist::kFifthBits;
      layout.twist_from = offsetof(UnitQ5_1, qh);
      layout.twist_bytes = 4;
      return layout;
    }
    case DType::kMXFP4:
      return {{128, sizeof(UnitMXFP4), 4},
              4,
              {Field{0, 1, 0, 1}, Field{1, 16, 4, 16}},
              Twist::kNone,
              0,
              0};
    case DType::kQ4_1:
      return whole<QBlockQ4_1>(32);
    case DType::kQ2_K:
      return whole<QBlockQ2_K>(256);
    case DType::kQ3_K:
      return whole<QBlockQ3_K>(256);
    case DType::kQ4_K:
      return whole<QBlockQ4_K>(256);
    case DType::kQ5_K:
      return whole<QBlockQ5_K>(256);
    case DType::kQ6_K:
      return whole<QBlockQ6_K>(256);
    case DType::kIQ4_XS:
      return whole<QBlockIQ4_XS>(256);
    case DType::kFP8:
      return whole<QBlockFP8>(128);
    case DType::kINT8: {
      Layout layout = whole<QBlockINT8>(128);
      layout.twist = Twist::kBias;
      layout.twist_from = offsetof(UnitINT8, q);
      layout.twist_bytes = 128;
      return layout;
    }
    case DType::kINT4_G32:
      return whole<QBlockINT4<1>>(32);
    case DType::kINT4_G64:
      return whole<QBlockINT4<2>>(64);
    case DType::kINT4_G128:
      return whole<QBlockINT4<4>>(128);
  }
  return plain(4);
}

constexpr int64_t kMaxUnitBytes = 256;

// Bit 4 b' + b of 32 to bit 8 b + b', b' < 8, b < 4; and back.
uint32_t gather_fifth_bits(uint32_t x) {
  uint32_t out = 0;
  for (int b = 0; b < 4; ++b) {
    uint32_t y = (x >> b) & 0x11111111u;
    y = (y | y >> 3) & 0x03030303u;
    y = (y | y >> 6) & 0x000f000fu;
    out |= ((y | y >> 12) & 0xffu) << (8 * b);
  }
  return out;
}
uint32_t scatter_fifth_bits(uint32_t x) {
  uint32_t out = 0;
  for (int b = 0; b < 4; ++b) {
    uint32_t y = (x >> (8 * b)) & 0xffu;
    y = (y | y << 12) & 0x000f000fu;
    y = (y | y << 6) & 0x03030303u;
    out |= ((y | y << 3) & 0x11111111u) << b;
  }
  return out;
}

template <class Word>
void twist_words(std::byte* bytes, int n, Word (*change)(Word)) {
  for (int i = 0; i < n; i += static_cast<int>(sizeof(Word))) {
    Word word;
    std::memcpy(&word, bytes + i, sizeof word);
    word = change(word);
    std::memcpy(bytes + i, &word, sizeof word);
  }
}
uint64_t bias_bytes(uint64_t x) {
  return x ^ 0x8080808080808080u;
}

template <Field kField>
void copy_field(const std::byte* blocks, int64_t block_bytes, int64_t n_blocks, std::byte* unit) {
  if constexpr (kField.bytes > 0) {
    for (int64_t b = 0; b < n_blocks; ++b) {
      std::memcpy(
          unit + kField.to + kField.step * b, blocks + b * block_bytes + kField.from, kField.bytes);
    }
  }
}

// One row's quant blocks to its part of a unit. For each type by itself, so that a field is a move
// or two: loading a model is little else.
template <DType kType>
void arrange(const std::byte* blocks, int64_t block_bytes, int64_t n_blocks, std::byte* unit) {
  constexpr Layout kLayout = layout_of(kType);
  if (n_blocks < kLayout.n_blocks || kLayout.unit.bytes > block_bytes * n_blocks) {
    std::memset(unit, 0, kLayout.unit.bytes);
  }
  copy_field<kLayout.fields[0]>(blocks, block_bytes, n_blocks, unit);
  copy_field<kLayout.fields[1]>(blocks, block_bytes, n_blocks, unit);
  copy_field<kLayout.fields[2]>(blocks, block_bytes, n_blocks, unit);
  std::byte* twisted = unit + kLayout.twist_from;
  if constexpr (kLayout.twist == Twist::kBias)
    twist_words<uint64_t>(twisted, kLayout.twist_bytes, bias_bytes);
  if constexpr (kLayout.twist == Twist::kFifthBits)
    twist_words<uint32_t>(twisted, kLayout.twist_bytes, gather_fifth_bits);
}

// The inverse; `unit` is changed on the way.
void restore(const Layout& layout,
             std::byte* unit,
             int64_t block_bytes,
             int64_t n_blocks,
             std::byte* blocks) {
  std::byte* twisted = unit + layout.twist_from;
  if (layout.twist == Twist::kBias) twist_words<uint64_t>(twisted, layout.twist_bytes, bias_bytes);
  if (layout.twist == Twist::kFifthBits)
    twist_words<uint32_t>(twisted, layout.twist_bytes, scatter_fifth_bits);
  for (const Field& field : layout.fields) {
    for (int64_t b = 0; b < n_blocks && field.bytes > 0; ++b) {
      std::memcpy(blocks + b * block_bytes + field.from,
                  unit + field.to + field.step * b,
                  static_cast<size_t>(field.bytes));
    }
  }
}

__m128i load16(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// Dword i of 16 rows, kMaxUnitBytes apart, side by side.
void transpose_dwords(const std::byte* rows, int64_t bytes, std::byte* out) {
  int64_t i = 0;
  for (; i + 16 <= bytes; i += 16) {
    for (int64_t r = 0; r < kTileRows; r += 4) {
      const std::byte* in = rows + r * kMaxUnitBytes + i;
      const __m128i a = load16(in), b = load16(in + kMaxUnitBytes);
      const __m128i c = load16(in + 2 * kMaxUnitBytes), d = load16(in + 3 * kMaxUnitBytes);
      const __m128i ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
      const __m128i ab2 = _mm_unpackhi_epi32(a, b), cd2 = _mm_unpackhi_epi32(c, d);
      auto* to = reinterpret_cast<__m128i*>(out + i * kTileRows + r * 4);
      _mm_store_si128(to, _mm_unpacklo_epi64(ab, cd));
      _mm_store_si128(to + 4, _mm_unpackhi_epi64(ab, cd));
      _mm_store_si128(to + 8, _mm_unpacklo_epi64(ab2, cd2));
      _mm_store_si128(to + 12, _mm_unpackhi_epi64(ab2, cd2));
    }
  }
  for (; i < bytes; i += 4) {
    for (int64_t r = 0; r < kTileRows; ++r) {
      std::memcpy(out + i * kTileRows + r * 4, rows + r * kMaxUnitBytes + i, 4);
    }
  }
}

// Plain types: value k of the rows side by side.
template <class Value>
void transpose_values(const std::byte* rows, int64_t n_rows, int64_t cols, std::byte* tile) {
  const auto* from = reinterpret_cast<const Value*>(rows);
  auto* to = reinterpret_cast<Value*>(tile);
  for (int64_t k = 0; k < cols; ++k) {
    for (int64_t r = 0; r < n_rows; ++r) {
      std::memcpy(to + k * kTileRows + r, from + r * cols + k, sizeof(Value));
    }
    for (int64_t r = n_rows; r < kTileRows; ++r) to[k * kTileRows + r] = 0;
  }
}

template <DType kType>
void pack_blocks(const std::byte* rows, int64_t n_rows, int64_t cols, std::byte* tile) {
  constexpr Layout kLayout = layout_of(kType);
  const Format& format = format_of(kType);
  const int64_t block_bytes = format.qblock_bytes;
  const int64_t n_blocks = cols / format.qblock_values;
  const int64_t row_bytes = n_blocks * block_bytes;
  alignas(64) std::byte units[kTileRows * kMaxUnitBytes];
  if (n_rows < kTileRows) std::memset(units, 0, sizeof units);
  for (int64_t first = 0; first < n_blocks; first += kLayout.n_blocks) {
    const std::byte* from = rows + first * block_bytes;
    const int64_t count = std::min<int64_t>(kLayout.n_blocks, n_blocks - first);
    for (int64_t r = 0; r < n_rows; ++r) {
      arrange<kType>(from + r * row_bytes, block_bytes, count, units + r * kMaxUnitBytes);
    }
    transpose_dwords(units, kLayout.unit.bytes, tile);
    tile += kLayout.unit.bytes * kTileRows;
  }
}

}  // namespace

TileUnit tile_unit(DType type) {
  return layout_of(type).unit;
}

int64_t tile_bytes(DType type, int64_t cols) {
  const TileUnit unit = tile_unit(type);
  return round_up(ceil_div(cols, unit.values) * unit.bytes * kTileRows, 64);
}

int64_t tiled_bytes(DType type, int64_t rows, int64_t cols) {
  return ceil_div(rows, kTileRows) * tile_bytes(type, cols);
}

void pack_tile(DType type, const std::byte* rows, int64_t n_rows, int64_t cols, std::byte* tile) {
  switch (type) {
    case DType::kF32:
      return transpose_values<uint32_t>(rows, n_rows, cols, tile);
    case DType::kF16:
    case DType::kBF16:
      return transpose_values<uint16_t>(rows, n_rows, cols, tile);
    case DType::kQ8_0:
      return pack_blocks<DType::kQ8_0>(rows, n_rows, cols, tile);
    case DType::kQ4_0:
      return pack_blocks<DType::kQ4_0>(rows, n_rows, cols, tile);
    case DType::kQ4_1:
      return pack_blocks<DType::kQ4_1>(rows, n_rows, cols, tile);
    case DType::kQ5_0:
      return pack_blocks<DType::kQ5_0>(rows, n_rows, cols, tile);
    case DType::kQ5_1:
      return pack_blocks<DType::kQ5_1>(rows, n_rows, cols, tile);
    case DType::kQ2_K:
      return pack_blocks<DType::kQ2_K>(rows, n_rows, cols, tile);
    case DType::kQ3_K:
      return pack_blocks<DType::kQ3_K>(rows, n_rows, cols, tile);
    case DType::kQ4_K:
      return pack_blocks<DType::kQ4_K>(rows, n_rows, cols, tile);
    case DType::kQ5_K:
      return pack_blocks<DType::kQ5_K>(rows, n_rows, cols, tile);
    case DType::kQ6_K:
      return pack_blocks<DType::kQ6_K>(rows, n_rows, cols, tile);
    case DType::kIQ4_NL:
      return pack_blocks<DType::kIQ4_NL>(rows, n_rows, cols, tile);
    case DType::kIQ4_XS:
      return pack_blocks<DType::kIQ4_XS>(rows, n_rows, cols, tile);
    case DType::kMXFP4:
      return pack_blocks<DType::kMXFP4>(rows, n_rows, cols, tile);
    case DType::kFP8:
      return pack_blocks<DType::kFP8>(rows, n_rows, cols, tile);
    case DType::kINT8:
      return pack_blocks<DType::kINT8>(rows, n_rows, cols, tile);
    case DType::kINT4_G32:
      return pack_blocks<DType::kINT4_G32>(rows, n_rows, cols, tile);
    case DType::kINT4_G64:
      return pack_blocks<DType::kINT4_G64>(rows, n_rows, cols, tile);
    case DType::kINT4_G128:
      return pack_blocks<DType::kINT4_G128>(rows, n_rows, cols, tile);
  }
}

void unpack_row(DType type, const std::byte* tile, int64_t row, int64_t cols, std::byte* out) {
  const Layout layout = layout_of(type);
  const int64_t granule = layout.unit.granule;
  const int64_t block_bytes = format_of(type).qblock_bytes;
  const int64_t n_blocks = bytes_for(type, cols) / block_bytes;
  std::byte unit[kMaxUnitBytes];
  for (int64_t first = 0; first < n_blocks; first += layout.n_blocks) {
    for (int64_t i = 0; i < layout.unit.bytes; i += granule) {
      std::memcpy(unit + i, tile + i * kTileRows + row * granule, static_cast<size_t>(granule));
    }
    tile += layout.unit.bytes * kTileRows;
    const int64_t count = std::min<int64_t>(layout.n_blocks, n_blocks - first);
    restore(layout, unit, block_bytes, count, out + first * block_bytes);
  }
}

}  // namespace farthing
