#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/act.h"
#include "kernels/isa.h"
#include "kernels/kernel_table.h"

namespace farthing {
namespace {

TEST(Dispatch, NamesAndIsasAreOneToOne) {
  for (size_t i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_EQ(isa_from_name(isa_name(isa)), isa);
  }
  EXPECT_EQ(isa_from_name("AVX2"), std::nullopt);
  EXPECT_EQ(isa_from_name(""), std::nullopt);
}

TEST(Dispatch, RefIsAlwaysThereAndBestIsLast) {
  const std::vector<Isa> isas = supported_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::kRef);
  EXPECT_EQ(isas.back(), best_isa());
  EXPECT_TRUE(std::is_sorted(isas.begin(), isas.end()));
}

TEST(Dispatch, CompilerAgreesOnWhatTheCpuHas) {
  __builtin_cpu_init();
  const std::vector<Isa> isas = supported_isas();
  const auto listed = [&](Isa isa) {
    return std::find(isas.begin(), isas.end(), isa) != isas.end();
  };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  EXPECT_TRUE(!listed(Isa::kAvx2) || avx2);
  EXPECT_TRUE(!listed(Isa::kAvx512) || avx512);
  EXPECT_TRUE(!listed(Isa::kAvx512Vnni) || (avx512 && __builtin_cpu_supports("avx512vnni")));
}

TEST(Dispatch, EveryTableIsComplete) {
  for (Isa isa : supported_isas()) {
    const KernelTable& t = kernel_table(isa);
    EXPECT_EQ(t.isa, isa);
    for (auto fn : t.matmul) EXPECT_NE(fn, nullptr);
    for (auto fn : t.store_k) EXPECT_NE(fn, nullptr);
    for (auto fn : t.store_v) EXPECT_NE(fn, nullptr);
    EXPECT_TRUE(t.attention.rows && t.attention.segment && t.attention.merge && t.attention.naive);
    EXPECT_NE(t.rope, nullptr);
    EXPECT_TRUE(t.pack_q8_32 && t.rms_norm && t.silu_mul && t.gelu_mul && t.add && t.soft_cap);
  }
}

TEST(ActBlocks, FollowEachOtherAndEndInsideTheirBytes) {
  constexpr int64_t kCols = 576;
  for (int32_t n : {1, 2, 3, 8, 9, 16, 17, 33, 512}) {
    int64_t end = 0;
    for (int32_t token = 0; token < n; token += kActBlockTokens) {
      const ActBlock block = act_block(kCols, n, token);
      EXPECT_EQ(block.offset, end) << n << " tokens";
      EXPECT_GE(block.width, std::min(kActBlockTokens, n - token));
      EXPECT_EQ(block.group_stride, 64 * block.width);
      end = block.offset + act_groups(kCols) * block.group_stride;
    }
    EXPECT_LE(end, act_bytes(n, kCols));
  }
  EXPECT_EQ(act_groups(576), 20);  // zeroes up to 640
}

}  // namespace
}  // namespace farthing
