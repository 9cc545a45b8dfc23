// Attention of every Isa against a softmax in double precision over the same stored K and V.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/test_util.h"

namespace farthing {
namespace {

struct Case {
  int32_t n_heads, head_dim, begin, position;
  float softcap;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int32_t length = 1; length <= 200; length += length < 70 ? 1 : 13) {
    all.push_back({3, 64, 0, length - 1, 0});
  }
  for (int32_t dim : {8, 16, 24, 40, 64, 80, 96, 128, 256, 512, 4, 7, 33}) {
    all.push_back({4, dim, 0, 77, 0});
    all.push_back({1, dim, 5, 37, 20.0f});
  }
  for (int32_t heads : {1, 2, 5, 7, 8, 9, 16}) all.push_back({heads, 64, 31, 100, 30.0f});
  for (int32_t begin : {0, 1, 31, 32, 33, 63, 99, 100}) all.push_back({2, 64, begin, 100, 0});
  return all;
}

// A pool of blocks in a scrambled order; K and V of one head, head_dim values a position, ends at a
// guard page.
struct Pool {
  Pool(KVType type, const KernelTable& table, int32_t n_positions, int32_t dim)
      : value_bytes(type == KVType::kF32 ? 4 : 2),
        block_stride(static_cast<int64_t>(kKVBlockTokens) * dim * value_bytes),
        n_blocks(blocks_for(n_positions)),
        k(n_blocks * block_stride),
        v(n_blocks * block_stride) {
    for (int32_t b = 0; b < n_blocks; ++b) {
      blocks.push_back({static_cast<uint32_t>((b * 7 + 3) % n_blocks)});
    }
    if (n_blocks % 7 == 0) {
      for (int32_t b = 0; b < n_blocks; ++b) blocks[b] = {static_cast<uint32_t>(n_blocks - 1 - b)};
    }
    for (int32_t p = 0; p < n_blocks * kKVBlockTokens; ++p) {
      // Positions that must not be seen hold NaN.
      const bool stored = p < n_positions;
      std::vector<float> kv = test::random_floats(2 * dim, 100 + p);
      for (float& x : kv) x = stored ? x : NAN;
      const int64_t at =
          blocks[p / kKVBlockTokens].v * block_stride + p % kKVBlockTokens * dim * value_bytes;
      table.store_kv[static_cast<size_t>(type)](kv.data(), dim, k.data() + at);
      table.store_kv[static_cast<size_t>(type)](kv.data() + dim, dim, v.data() + at);
    }
  }

  int64_t value_bytes, block_stride;
  int32_t n_blocks;
  test::Guarded k, v;
  BlockTable blocks;
};

std::vector<double> exact_attention(
    const Case& c, KVType type, const Pool& pool, const float* q, float scale) {
  const Format& f = format_of(type == KVType::kF32   ? DType::kF32
                              : type == KVType::kF16 ? DType::kF16
                                                     : DType::kBF16);
  std::vector<double> out(c.n_heads * c.head_dim);
  std::vector<float> row(c.head_dim);
  const auto load = [&](const std::byte* plane, int32_t p) {
    f.decode(plane + pool.blocks[p / kKVBlockTokens].v * pool.block_stride +
                 p % kKVBlockTokens * c.head_dim * pool.value_bytes,
             row.data(),
             c.head_dim);
  };
  for (int32_t h = 0; h < c.n_heads; ++h) {
    std::vector<double> weights(c.position + 1);
    double highest = -INFINITY, total = 0;
    for (int32_t p = c.begin; p <= c.position; ++p) {
      load(pool.k.data(), p);
      double s = 0;
      for (int32_t i = 0; i < c.head_dim; ++i)
        s += static_cast<double>(q[h * c.head_dim + i]) * row[i];
      s *= scale;
      weights[p] = c.softcap > 0 ? c.softcap * std::tanh(s / c.softcap) : s;
      highest = std::max(highest, weights[p]);
    }
    for (int32_t p = c.begin; p <= c.position; ++p)
      total += weights[p] = std::exp(weights[p] - highest);
    for (int32_t p = c.begin; p <= c.position; ++p) {
      load(pool.v.data(), p);
      for (int32_t i = 0; i < c.head_dim; ++i)
        out[h * c.head_dim + i] += weights[p] / total * row[i];
    }
  }
  return out;
}

TEST(Attention, EveryIsaAndTypeMatchesTheExactSoftmax) {
  for (Isa isa : supported_isas()) {
    const KernelTable& table = kernel_table(isa);
    for (KVType type : {KVType::kF32, KVType::kF16, KVType::kBF16}) {
      for (const Case& c : cases()) {
        const Pool pool(type, table, c.position + 1, c.head_dim);
        const size_t n = static_cast<size_t>(c.n_heads) * c.head_dim;
        test::Guarded q(n * 4), out(n * 4), scratch((c.position + 1) * 4);
        const std::vector<float> q_values = test::random_floats(n, 5, 2.0f);
        std::memcpy(q.data(), q_values.data(), n * 4);
        const float scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
        const AttentionTask task = {q.as<float>(),
                                    c.head_dim,
                                    out.as<float>(),
                                    c.head_dim,
                                    c.n_heads,
                                    c.head_dim,
                                    pool.k.data(),
                                    pool.v.data(),
                                    pool.block_stride,
                                    pool.blocks.data(),
                                    c.begin,
                                    c.position,
                                    scale,
                                    c.softcap,
                                    scratch.as<float>()};
        const std::vector<double> want = exact_attention(c, type, pool, q_values.data(), scale);
        for (auto fn : {table.attention[static_cast<size_t>(type)],
                        table.attention_naive[static_cast<size_t>(type)]}) {
          std::memset(out.data(), 0xff, n * 4);
          fn(task);
          for (size_t i = 0; i < n; ++i) {
            ASSERT_NEAR(out.as<float>()[i], want[i], 2e-5)
                << isa_name(isa) << " type " << static_cast<int>(type) << " dim " << c.head_dim
                << " heads " << c.n_heads << " positions " << c.begin << ".." << c.position
                << " value " << i;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace farthing
