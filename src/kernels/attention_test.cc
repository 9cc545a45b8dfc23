// Attention of every Isa: against a softmax in double precision over the same stored K and V, and
// the same bits however rows are grouped or shared. What goes into the store, and RoPE.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/test_util.h"

namespace farthing {
namespace {

const KVTypes kTypes[] = {KVType::kF32,
                          KVType::kF16,
                          KVType::kBF16,
                          KVType::kInt8,
                          KVType::kInt4,
                          {KVType::kInt8, KVType::kInt4},
                          {KVType::kInt4, KVType::kF16},
                          {KVType::kF32, KVType::kInt8}};

DType stored_as(KVType type) {
  return type == KVType::kF32 ? DType::kF32 : type == KVType::kF16 ? DType::kF16 : DType::kBF16;
}

struct Case {
  int32_t n_heads, head_dim;
  int32_t position;  // of row 0
  int32_t n_rows = 1;
  int32_t window = 0;
  float softcap = 0;
  float q_size = 2;

  int32_t row_floats() const { return n_heads * head_dim; }
  int32_t last() const { return position + n_rows - 1; }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.n_heads << " heads of " << c.head_dim << ", position " << c.position << ", " << c.n_rows
       << " rows, window " << c.window << ", cap " << c.softcap;
}

// Value i of the Walsh-Hadamard transform by its definition: signs are the parity of the common
// bits of both indices.
double transformed(auto x, int32_t dim, int32_t i) {
  const int32_t block = hadamard_block(dim), first = i / block * block;
  double sum = 0;
  for (int32_t j = 0; j < block; ++j)
    sum += (__builtin_popcount(static_cast<unsigned>((i - first) & j)) % 2 ? -1.0 : 1.0) *
           x(first + j);
  return sum / std::sqrt(block);
}

int64_t row_of_k(KVType type, int32_t channel) {
  return type == KVType::kInt4 ? channel / 2 : channel;
}
// What a byte of a scaled type stands for, times its scale.
int number_in(KVType type, std::byte byte, bool upper) {
  if (type == KVType::kInt8) return static_cast<int8_t>(byte);
  return (static_cast<int>(byte) >> (upper ? 4 : 0) & 15) - 8;
}
float scale_in(const std::byte* scales, int32_t group, int32_t slot) {
  uint16_t scale;
  std::memcpy(&scale, scales + 2 * (group * kKVBlockTokens + slot), sizeof scale);
  return f16_to_f32(scale);
}
// Channel i of the position in a slot, as it is stored.
float k_in(KVType type, const std::byte* plane, int32_t dim, int32_t slot, int32_t i) {
  const KVPlane layout = kv_k_plane(type, dim);
  if (type == KVType::kInt8 || type == KVType::kInt4) {
    const std::byte byte = plane[row_of_k(type, i) * kKVBlockTokens + slot];
    return static_cast<float>(number_in(type, byte, i % 2 == 1)) *
           scale_in(plane + layout.scales_at, i / (type == KVType::kInt8 ? 64 : 32), slot);
  }
  float x;
  const int64_t size = kv_value_bytes(type);
  format_of(stored_as(type)).decode(plane + (i * kKVBlockTokens + slot) * size, &x, 1);
  return x;
}
float v_in(KVType type, const std::byte* plane, int32_t dim, int32_t slot, int32_t i) {
  const KVPlane layout = kv_v_plane(type, dim);
  const std::byte* row = plane + slot * layout.row_bytes;
  if (type == KVType::kInt8 || type == KVType::kInt4) {
    const std::byte byte = row[type == KVType::kInt8 ? i : i / 32 * 16 + i % 16];
    return static_cast<float>(number_in(type, byte, i % 32 >= 16)) *
           scale_in(plane + layout.scales_at, i / (type == KVType::kInt8 ? 64 : 32), slot);
  }
  float x;
  format_of(stored_as(type)).decode(row + i * kv_value_bytes(type), &x, 1);
  return x;
}

// A pool of blocks in a scrambled order; K and V of one head, each ending at a guard page.
// Positions after the last one hold NaN.
struct Pool {
  Pool(KVTypes types_in, const KernelTable& table, int32_t n_positions_in, int32_t dim_in)
      : types(types_in),
        dim(dim_in),
        n_positions(n_positions_in),
        block_stride(std::max(kv_k_plane(types.k, dim).bytes, kv_v_plane(types.v, dim).bytes)),
        n_blocks(blocks_for(n_positions)),
        k(static_cast<size_t>((n_blocks - 1) * block_stride + kv_k_plane(types.k, dim).bytes)),
        v(static_cast<size_t>((n_blocks - 1) * block_stride + kv_v_plane(types.v, dim).bytes)) {
    for (int32_t b = 0; b < n_blocks; ++b) {
      const int32_t at = n_blocks % 7 == 0 ? n_blocks - 1 - b : (b * 7 + 3) % n_blocks;
      blocks.push_back({static_cast<uint32_t>(at)});
    }
    for (int32_t p = 0; p < n_blocks * kKVBlockTokens; ++p) {
      std::vector<float> kv = test::random_floats(static_cast<size_t>(2 * dim), 100 + p);
      if (p >= n_positions) kv.assign(kv.size(), NAN);
      store(table, p, kv.data(), kv.data() + dim);
    }
  }
  void store(const KernelTable& table, int32_t p, const float* new_k, const float* new_v) {
    const int32_t slot = p % kKVBlockTokens;
    table.store_k[static_cast<size_t>(types.k)](new_k, dim, k.data() + block(p), slot);
    table.store_v[static_cast<size_t>(types.v)](new_v, dim, v.data() + block(p), slot);
  }
  int64_t block(int32_t p) const { return blocks[p / kKVBlockTokens].v * block_stride; }
  // The values that a position's K and V stand for.
  std::vector<float> k_at(int32_t p) const {
    return meant(types.k, [&](int32_t i) {
      return k_in(types.k, k.data() + block(p), dim, p % kKVBlockTokens, i);
    });
  }
  std::vector<float> v_at(int32_t p) const {
    return meant(types.v, [&](int32_t i) {
      return v_in(types.v, v.data() + block(p), dim, p % kKVBlockTokens, i);
    });
  }
  template <class Stored>
  std::vector<float> meant(KVType type, Stored stored) const {
    std::vector<float> there, values;
    for (int32_t i = 0; i < dim; ++i) there.push_back(stored(i));
    if (type != KVType::kInt8 && type != KVType::kInt4) return there;
    for (int32_t i = 0; i < dim; ++i)
      values.push_back(
          static_cast<float>(transformed([&](int32_t j) { return there[j]; }, dim, i)));
    return values;
  }

  KVTypes types;
  int32_t dim, n_positions;
  int64_t block_stride;
  int32_t n_blocks;
  test::Guarded k, v;
  BlockTable blocks;
};

float scale_of(const Case& c) {
  return 1 / std::sqrt(static_cast<float>(c.head_dim));
}

std::vector<float> queries(const Case& c) {
  return test::random_floats(static_cast<size_t>(c.n_rows * c.row_floats()), 5, c.q_size);
}

std::vector<double> exact_attention(const Case& c, const Pool& pool, const std::vector<float>& q) {
  std::vector<double> out(q.size());
  std::vector<float> k, v;
  for (int32_t p = 0; p <= c.last(); ++p) {
    const std::vector<float> k_there = pool.k_at(p), v_there = pool.v_at(p);
    k.insert(k.end(), k_there.begin(), k_there.end());
    v.insert(v.end(), v_there.begin(), v_there.end());
  }
  for (int32_t row = 0; row < c.n_rows; ++row) {
    const int32_t position = c.position + row;
    const int32_t begin = c.window > 0 ? std::max(0, position + 1 - c.window) : 0;
    for (int32_t h = 0; h < c.n_heads; ++h) {
      const size_t at = static_cast<size_t>(row * c.row_floats() + h * c.head_dim);
      std::vector<double> weights(position + 1);
      double highest = -INFINITY, total = 0;
      for (int32_t p = begin; p <= position; ++p) {
        double s = 0;
        for (int32_t i = 0; i < c.head_dim; ++i) s += double{q[at + i]} * k[p * c.head_dim + i];
        s *= scale_of(c);
        weights[p] = c.softcap > 0 ? c.softcap * std::tanh(s / c.softcap) : s;
        highest = std::max(highest, weights[p]);
      }
      for (int32_t p = begin; p <= position; ++p)
        total += weights[p] = std::exp(weights[p] - highest);
      for (int32_t p = begin; p <= position; ++p)
        for (int32_t i = 0; i < c.head_dim; ++i)
          out[at + i] += weights[p] / total * v[p * c.head_dim + i];
    }
  }
  return out;
}

enum class Way { kRows, kSegments, kKnown, kNaive };

// Rows [first, first + count) of a case, in one task or row by row and segment by segment, with
// every buffer exactly as long as it must be.
std::vector<float> attend(const Case& c,
                          const Pool& pool,
                          const KernelTable& table,
                          const std::vector<float>& q,
                          Way way,
                          int32_t first,
                          int32_t count) {
  const AttentionKernels& kernels = table.attention;
  const size_t n = static_cast<size_t>(count * c.row_floats());
  const int64_t scratch_floats = way == Way::kNaive
                                     ? naive_scratch_floats(c.last() + 1, c.head_dim)
                                     : attention_scratch_floats(count * c.n_heads, c.head_dim);
  test::Guarded q_rows(n * 4), out(n * 4), scratch(static_cast<size_t>(scratch_floats) * 4);
  std::memcpy(q_rows.data(), q.data() + first * c.row_floats(), n * 4);
  std::memset(out.data(), 0xff, n * 4);
  std::memset(scratch.data(), 0xff, static_cast<size_t>(scratch_floats) * 4);  // NaN
  AttentionTask task{.q = q_rows.as<float>(),
                     .q_stride = c.row_floats(),
                     .out = out.as<float>(),
                     .out_stride = c.row_floats(),
                     .n_rows = count,
                     .n_heads = c.n_heads,
                     .head_dim = c.head_dim,
                     .types = pool.types,
                     .k_plane = pool.k.data(),
                     .v_plane = pool.v.data(),
                     .block_stride = pool.block_stride,
                     .blocks = pool.blocks.data(),
                     .position = c.position + first,
                     .window = c.window,
                     .scale = scale_of(c),
                     .softcap = c.softcap,
                     .scratch = scratch.as<float>()};
  if (way == Way::kRows) kernels.rows(task);
  if (way == Way::kKnown) {  // all rows' segments that are whole first, then the rest
    task.n_known = c.position / kAttentionSegment;
    task.known_stride = count * c.n_heads * attention_part_floats(c.head_dim);
    test::Guarded parts(static_cast<size_t>(task.n_known * task.known_stride) * 4);
    AttentionTask past = task;
    past.position = task.n_known * kAttentionSegment;
    for (int32_t s = 0; s < task.n_known; ++s)
      kernels.segment(past, s, parts.as<float>() + s * task.known_stride);
    task.known = parts.as<float>();
    kernels.rows(task);
  }
  if (way == Way::kNaive) kernels.naive(task);
  if (way == Way::kSegments) {
    task.n_rows = 1;
    for (int32_t r = 0; r < count; ++r) {
      const int32_t begin = attention_begin(task.position, c.window) / kAttentionSegment;
      const int32_t n_segments = task.position / kAttentionSegment - begin + 1;
      const int64_t floats = c.n_heads * attention_part_floats(c.head_dim);
      test::Guarded parts(static_cast<size_t>(n_segments * floats) * 4);
      for (int32_t s = n_segments - 1; s >= 0; --s)
        kernels.segment(task, begin + s, parts.as<float>() + s * floats);
      kernels.merge(task, parts.as<float>(), n_segments);
      task.q += c.row_floats();
      task.out += c.row_floats();
      ++task.position;
    }
  }
  return {out.as<float>(), out.as<float>() + n};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int32_t length = 1; length <= 300; length += length < 70 ? 1 : 31) {
    all.push_back({3, 64, length - 1});
  }
  for (int32_t dim : {8, 16, 24, 40, 64, 72, 80, 96, 128, 256, 512, 4, 7, 33}) {
    all.push_back({4, dim, 77});
    all.push_back({1, dim, 37, 1, 33, 20.0f});
    all.push_back({3, dim, 40, 7});
  }
  for (int32_t heads = 1; heads <= 9; ++heads) {
    all.push_back({heads, 64, 100, 1, 70, 30.0f});
    all.push_back({heads, 32, 250, 9});
  }
  all.push_back({16, 64, 100});
  for (int32_t window : {1, 2, 31, 32, 33, 64, 100, 101, 102}) {
    all.push_back({2, 64, 100, 1, window});
    all.push_back({2, 16, 90, 20, window});
  }
  for (int32_t position : {254, 255, 256, 257, 511, 512, 700}) all.push_back({3, 24, position, 3});
  all.push_back({2, 40, 600, 30, 300, 50.0f});
  all.push_back({3, 64, 200, 21, 0, 0, 12});  // nearly all weight on one position
  return all;
}

TEST(Attention, EveryIsaAndTypeMatchesTheExactSoftmax) {
  for (const Case& c : cases()) {
    const std::vector<float> q = queries(c);
    for (KVTypes types : kTypes) {
      const Pool pool(types, ref_kernels(), c.last() + 1, c.head_dim);
      const std::vector<double> want = exact_attention(c, pool, q);
      for (Isa isa : supported_isas()) {
        for (Way way : {Way::kRows, Way::kNaive}) {
          const auto got = attend(c, pool, kernel_table(isa), q, way, 0, c.n_rows);
          for (size_t i = 0; i < got.size(); ++i) {
            ASSERT_NEAR(got[i], want[i], c.q_size * 1e-5)
                << isa_name(isa) << " " << kv_types_name(types) << " way " << static_cast<int>(way)
                << " " << testing::PrintToString(c) << " value " << i;
          }
        }
      }
    }
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Attention, RowsAreTheSameBitsHoweverTheyAreGroupedOrShared) {
  const std::vector<Case> several = {
      {1, 64, 0, 40},
      {3, 64, 0, 70},
      {3, 64, 240, 37},
      {4, 128, 250, 16, 100},
      {8, 24, 505, 20, 0, 30.0f},
      {5, 80, 1020, 9, 300},
      {9, 33, 600, 11, 20},
      {2, 256, 300, 33, 257},
      {6, 72, 767, 2},
  };
  for (Isa isa : supported_isas()) {
    const KernelTable& table = kernel_table(isa);
    for (const Case& c : several) {
      const std::vector<float> q = queries(c);
      for (KVTypes types : kTypes) {
        const Pool pool(types, table, c.last() + 1, c.head_dim);
        const auto what = testing::Message() << isa_name(isa) << " " << kv_types_name(types) << " "
                                             << testing::PrintToString(c);
        const auto together = attend(c, pool, table, q, Way::kRows, 0, c.n_rows);
        EXPECT_TRUE(same_bits(together, attend(c, pool, table, q, Way::kSegments, 0, c.n_rows)))
            << what;
        if (c.window == 0) {
          EXPECT_TRUE(same_bits(together, attend(c, pool, table, q, Way::kKnown, 0, c.n_rows)))
              << what;
        }
        for (int32_t most : {1, 2, 3, 5, 13}) {
          std::vector<float> apart;
          for (int32_t r = 0; r < c.n_rows; r += most) {
            const int32_t count = std::min(most, c.n_rows - r);
            const auto rows = attend(c, pool, table, q, Way::kRows, r, count);
            apart.insert(apart.end(), rows.begin(), rows.end());
          }
          EXPECT_TRUE(same_bits(together, apart)) << what << " by " << most;
        }
      }
    }
  }
}

// What a later row stored is nothing to the rows before it, not even times a weight of 0.
TEST(Attention, ANaNIsSeenFromItsPositionOn) {
  const Case c{3, 64, 250, 20};
  const std::vector<float> q = queries(c);
  const int32_t bad_row = 11;
  const auto before = static_cast<ptrdiff_t>(bad_row) * c.row_floats();
  const std::vector<float> nans(static_cast<size_t>(c.head_dim), NAN);
  for (KVType type : {KVType::kF16, KVType::kInt8, KVType::kInt4})
    for (Isa isa : supported_isas()) {
      const KernelTable& table = kernel_table(isa);
      Pool pool(type, table, c.last() + 1, c.head_dim);
      auto want = attend(c, pool, table, q, Way::kRows, 0, c.n_rows);
      pool.store(table, c.position + bad_row, nans.data(), nans.data());
      auto got = attend(c, pool, table, q, Way::kRows, 0, c.n_rows);
      for (size_t i = static_cast<size_t>(before); i < got.size(); ++i)
        ASSERT_TRUE(std::isnan(got[i])) << isa_name(isa) << " " << i;
      want.erase(want.begin() + before, want.end());
      got.erase(got.begin() + before, got.end());
      EXPECT_TRUE(same_bits(want, got)) << isa_name(isa);
    }
}

// Every value within half a step of its own, or where the grid ends; no step longer than it must
// be; the same bytes from every Isa; only the slot's own are written.
void expect_nearest_steps(KVType type, const std::vector<float>& x) {
  const bool int8 = type == KVType::kInt8;
  const auto n = static_cast<int32_t>(x.size());
  const int32_t channels = int8 ? 64 : 32;
  std::vector<float> wanted;
  for (int32_t i = 0; i < n; ++i)
    wanted.push_back(static_cast<float>(transformed([&](int32_t j) { return x[j]; }, n, i)));
  for (int32_t slot : {0, 5, kKVBlockTokens - 1}) {
    std::vector<std::byte> want_k, want_v;
    for (Isa isa : supported_isas()) {
      const auto what = testing::Message() << isa_name(isa) << " " << kv_type_name(type) << " n "
                                           << n << " slot " << slot << " x[0] " << x[0];
      const KVPlane k_plane = kv_k_plane(type, n), v_plane = kv_v_plane(type, n);
      test::Guarded k(static_cast<size_t>(k_plane.bytes)), v(static_cast<size_t>(v_plane.bytes));
      std::memset(k.data(), 0x5a, static_cast<size_t>(k_plane.bytes));
      std::memset(v.data(), 0x5a, static_cast<size_t>(v_plane.bytes));
      kernel_table(isa).store_k[static_cast<size_t>(type)](x.data(), n, k.data(), slot);
      kernel_table(isa).store_v[static_cast<size_t>(type)](x.data(), n, v.data(), slot);
      if (want_k.empty()) {
        want_k.assign(k.data(), k.data() + k_plane.bytes);
        want_v.assign(v.data(), v.data() + v_plane.bytes);
        for (int32_t c = 0; c < n; c += channels) {
          const int32_t end = std::min(n, c + channels);
          float far = 0;
          for (int32_t i = c; i < end; ++i)
            if (std::fabs(wanted[i]) > std::fabs(far)) far = wanted[i];
          const float amax = std::fabs(far);
          const float scale = scale_in(k.data() + k_plane.scales_at, c / channels, slot);
          const float slack = amax * 1e-3f + 127 * 0x1p-24f;
          EXPECT_EQ(scale, scale_in(v.data() + v_plane.scales_at, c / channels, slot)) << what;
          EXPECT_NEAR(std::fabs(scale) * (int8 ? 127 : 8), amax, slack) << what;
          for (int32_t i = c; i < end; ++i) {
            const float stored = k_in(type, k.data(), n, slot, i);
            EXPECT_EQ(stored, v_in(type, v.data(), n, slot, i)) << what << " at " << i;
            // int4's grid ends a step short of the value opposite the farthest.
            const bool beyond = !int8 && wanted[i] / scale > 7;
            const float near = std::fabs(scale) * (beyond ? 1.01f : 0.501f) + slack;
            EXPECT_NEAR(stored, wanted[i], near) << what << " at " << i;
          }
        }
        const auto written = [](const std::vector<std::byte>& plane) {
          return std::ranges::count_if(plane, [](std::byte b) { return b != std::byte{0x5a}; });
        };
        const int32_t scales = 2 * ((n + channels - 1) / channels);
        EXPECT_LE(written(want_k), k_plane.scales_at / kKVBlockTokens + scales) << what;
        EXPECT_LE(written(want_v), v_plane.row_bytes + scales) << what;
      }
      EXPECT_EQ(std::memcmp(want_k.data(), k.data(), want_k.size()), 0) << what;
      EXPECT_EQ(std::memcmp(want_v.data(), v.data(), want_v.size()), 0) << what;
    }
  }
}

TEST(StoreKV, ScaledTypesRoundToTheNearestStep) {
  for (KVType type : {KVType::kInt8, KVType::kInt4}) {
    for (int32_t n : {1, 8, 13, 16, 33, 64, 77, 80, 96, 128, 150, 256, 512}) {
      for (float size : {1e-6f, 0.02f, 1.0f, 300.0f, 1e5f}) {
        std::vector<float> x = test::random_floats(n, 12, size);
        if (n > 8) x[3] = 0, x[4] = -0.0f, x[5] = -1.25f * size;
        if (n == 77) x.assign(x.size(), 0);
        expect_nearest_steps(type, x);
      }
    }
  }
}

// A scale is of a position's own channels: neighbours in the block change nothing, also if they
// share bytes' neighbourhood or come later.
TEST(StoreKV, APositionsBytesAreItsOwn) {
  for (KVType type : kKVTypes) {
    for (Isa isa : supported_isas()) {
      const KernelTable& table = kernel_table(isa);
      const int32_t n = 80;
      const auto bytes = static_cast<size_t>(kv_k_plane(type, n).bytes);
      std::vector<std::byte> up(bytes), down(bytes);
      for (int32_t i = 0; i < kKVBlockTokens; ++i) {
        const auto store = [&](int32_t slot, std::vector<std::byte>& plane) {
          const auto x = test::random_floats(n, 50 + slot, static_cast<float>(1 + slot));
          table.store_k[static_cast<size_t>(type)](x.data(), n, plane.data(), slot);
        };
        store(i, up);
        store(kKVBlockTokens - 1 - i, down);
      }
      EXPECT_EQ(up, down) << isa_name(isa) << " " << kv_type_name(type);
    }
  }
}

TEST(StoreKV, EveryIsaStoresTheReferencesBytes) {
  std::vector<float> x = test::random_floats(150, 11);
  x[0] = 1e-8f, x[1] = 65519.9f, x[2] = 65520.0f, x[3] = -0.0f, x[4] = INFINITY, x[5] = 3e-5f,
  x[6] = 1.00048828125f;
  for (KVType kv_type : {KVType::kF32, KVType::kF16, KVType::kBF16}) {
    const auto type = static_cast<size_t>(kv_type);
    const int64_t size = kv_value_bytes(kv_type);
    for (int32_t n : {1, 8, 13, 16, 64, 77, 150}) {
      const size_t plane = static_cast<size_t>(kv_k_plane(kv_type, n).bytes);
      std::vector<std::byte> want(static_cast<size_t>(n * size));
      format_of(stored_as(kv_type)).encode(x.data(), want.data(), n);
      for (Isa isa : supported_isas()) {
        const auto what = testing::Message() << isa_name(isa) << " type " << type << " n " << n;
        for (int32_t slot : {0, 5, kKVBlockTokens - 1}) {
          test::Guarded v(plane), k(plane);
          std::memset(v.data(), 0x5a, plane);
          std::memset(k.data(), 0x5a, plane);
          kernel_table(isa).store_v[type](x.data(), n, v.data(), slot);
          kernel_table(isa).store_k[type](x.data(), n, k.data(), slot);
          // The rest stays as it was.
          std::vector<std::byte> wanted_v(plane, std::byte{0x5a}), wanted_k = wanted_v;
          std::memcpy(wanted_v.data() + slot * n * size, want.data(), want.size());
          for (int64_t i = 0; i < n; ++i) {
            std::memcpy(wanted_k.data() + (i * kKVBlockTokens + slot) * size,
                        want.data() + i * size,
                        static_cast<size_t>(size));
          }
          EXPECT_EQ(std::memcmp(wanted_v.data(), v.data(), plane), 0) << what << " slot " << slot;
          EXPECT_EQ(std::memcmp(wanted_k.data(), k.data(), plane), 0) << what << " slot " << slot;
        }
      }
    }
  }
}

TEST(Rope, EveryIsaRotatesPairs) {
  for (Isa isa : supported_isas()) {
    for (bool adjacent : {false, true}) {
      for (int32_t n : {1, 2, 4, 7, 8, 9, 16, 20, 32, 40, 64}) {
        const auto size = static_cast<size_t>(n) * 4;
        test::Guarded cos(size), sin(size), x(2 * size);
        const auto values = test::random_floats(static_cast<size_t>(2 * n), 7, 3.0f);
        std::memcpy(x.data(), values.data(), 2 * size);
        for (int32_t i = 0; i < n; ++i) {
          cos.as<float>()[i] = std::cos(0.7f * static_cast<float>(i + 1));
          sin.as<float>()[i] = std::sin(0.7f * static_cast<float>(i + 1));
        }
        kernel_table(isa).rope(cos.as<float>(), sin.as<float>(), n, adjacent, x.as<float>());
        for (int32_t i = 0; i < n; ++i) {
          const int32_t at = adjacent ? 2 * i : i, to = adjacent ? 2 * i + 1 : i + n;
          const double a = values[at], b = values[to];
          const double c = cos.as<float>()[i], s = sin.as<float>()[i];
          const double slack = 2e-7 * (std::fabs(a) + std::fabs(b));
          ASSERT_NEAR(x.as<float>()[at], a * c - b * s, slack) << isa_name(isa) << " " << n;
          ASSERT_NEAR(x.as<float>()[to], a * s + b * c, slack) << isa_name(isa) << " " << n;
        }
      }
    }
  }
}

}  // namespace
}  // namespace farthing
