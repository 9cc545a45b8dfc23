// Attention over more than one segment: the same logits, bit for bit, whether a row is one thread's
// or shared by segments. And what the workspace takes is what it said.
#include "model/attention_workspace.h"

#include <gtest/gtest.h>

#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using testing::first_difference;
using testing::Golden;
using testing::open_model;
using testing::random_tokens;
using testing::Rig;
using testing::RigOptions;

constexpr int32_t kTokens = 2 * kAttentionSegment + 88;

class AttentionSharing : public ::testing::TestWithParam<Golden> {};

TEST_P(AttentionSharing, ThreadsShareARowAndChangeNoBit) {
  const auto model = open_model(GetParam().path, WeightMode::kNative);
  const int32_t vocab = model->spec.vocab_size;
  const std::vector<TokenId> tokens = random_tokens(vocab, kTokens, 9);
  const RigOptions alone{
      .isa = best_isa(), .kv_type = KVType::kF16, .context = kTokens, .max_tokens = kTokens};
  const std::vector<float> expected = Rig(*model, alone).logits_of(tokens, kTokens);
  for (int32_t n_threads : {2, 5}) {
    RigOptions together = alone;
    together.n_threads = n_threads;
    Rig rig(*model, together);
    // A prefill, then one token, two and seven at a time.
    Sequence s = rig.sequence(tokens, kTokens);
    std::vector<float> got = rig.advance(s, kAttentionSegment - 6);
    for (int32_t i = 0; s.n_stored < kTokens; ++i) {
      const int32_t count = s.n_stored < kTokens - 100 ? 16 : i % 4 == 0 ? 7 : i % 4 == 1 ? 2 : 1;
      const std::vector<float> part = rig.advance(s, std::min(count, kTokens - s.n_stored));
      got.insert(got.end(), part.begin(), part.end());
    }
    EXPECT_EQ(first_difference(got, expected, vocab), -1) << n_threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Toys,
                         AttentionSharing,
                         ::testing::ValuesIn(testing::read_goldens()),
                         [](const auto& row) { return testing::test_name(row.param.name); });

TEST(AttentionWorkspace, ThreadsHaveScratchOfTheirOwnAndRoomForParts) {
  ModelSpec spec;
  spec.layers.push_back({});
  spec.layers[0].mixer = AttentionSpec{.n_heads = 9, .n_kv_heads = 3, .head_dim = 64};
  const int32_t queries = 3 * AttentionWorkspace::most_rows(spec.attention(0));
  for (AttentionMode mode : {AttentionMode::kFlash, AttentionMode::kNaive}) {
    for (int32_t n_threads : {1, 2, 7}) {
      const AttentionLimits limits{
          .n_threads = n_threads, .max_tokens = 512, .context = 8192, .mode = mode};
      const auto w = testing::must(AttentionWorkspace::create(spec, limits));
      const int64_t each = w.scratch(1) - w.scratch(0);
      EXPECT_GE(each,
                mode == AttentionMode::kNaive ? naive_scratch_floats(8192, 64)
                                              : attention_scratch_floats(queries, 64));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(w.scratch(n_threads - 1)) % 64, 0u);
      EXPECT_EQ(AttentionWorkspace::bytes_needed(spec, limits),
                4 * (n_threads * each + w.parts_floats()));
      const bool shares = mode == AttentionMode::kFlash && n_threads > 1;
      EXPECT_EQ(w.parts_floats() > 0, shares);
      // One token at the end of the context fits in the parts.
      if (shares) {
        EXPECT_GE(w.parts_floats(), 8192 / kAttentionSegment * 9 * attention_part_floats(64));
      }
    }
  }
}

TEST(AttentionWorkspace, FindsPastsThatBeginAlike) {
  ModelSpec spec;
  spec.layers.push_back({});
  spec.layers[0].mixer = AttentionSpec{.n_heads = 9, .n_kv_heads = 3, .head_dim = 64};
  constexpr int32_t kBlocks = kAttentionSegment / kKVBlockTokens;
  // Blocks [0, shared) are alike, the rest its own.
  const auto sequence = [](int32_t n_blocks, int32_t shared, uint32_t own) {
    Sequence s;
    for (int32_t b = 0; b < n_blocks; ++b)
      s.blocks.push_back({static_cast<uint32_t>(b) + (b < shared ? 0 : own * 1000)});
    return s;
  };
  const Sequence a = sequence(5 * kBlocks, 3 * kBlocks, 1),
                 b = sequence(4 * kBlocks, 3 * kBlocks, 2),
                 c = sequence(4 * kBlocks, 2 * kBlocks + 1, 3), d = sequence(4 * kBlocks, 0, 4);
  const auto found = [&](const std::vector<TokenRow>& rows, int32_t max_sequences = 8) {
    auto w = testing::must(AttentionWorkspace::create(
        spec,
        {.n_threads = 1, .max_tokens = 512, .context = 2048, .max_sequences = max_sequences}));
    w.find_commons(spec, rows);
    std::vector<std::array<int32_t, 4>> commons;
    for (const auto& common : w.commons) {
      commons.push_back(
          {common.row, common.count, common.n_segments, static_cast<int32_t>(common.first_row)});
    }
    return commons;
  };
  using Found = std::vector<std::array<int32_t, 4>>;
  const int32_t s = kAttentionSegment;
  EXPECT_EQ(found({{&a, 4 * s}, {&b, 3 * s}}), (Found{{0, 2, 3, 0}}));
  EXPECT_EQ(found({{&a, 4 * s}, {&b, 3 * s - 1}}), (Found{{0, 2, 2, 0}}));  // 2 whole ones
  EXPECT_EQ(found({{&a, 4 * s}, {&b, 3 * s + 9}, {&c, 3 * s}}), (Found{{0, 3, 2, 0}}));
  EXPECT_EQ(found({{&a, 4 * s}, {&d, 3 * s}, {&b, 3 * s}}), Found{});
  EXPECT_EQ(found({{&d, 900}, {&a, 4 * s}, {&b, 3 * s}, {&b, 3 * s + 1}}), (Found{{1, 3, 3, 0}}));
  EXPECT_EQ(found({{&a, 4 * s}, {&a, 4 * s + 1}}), Found{});  // one sequence: a run does it
  EXPECT_EQ(found({{&a, s - 1}, {&b, s - 1}}), Found{});
  EXPECT_EQ(found({{&a, 4 * s}, {&b, 3 * s}}, /*max_sequences=*/1), Found{});  // no room
  // No more rows than a task may have; the next ones are another's.
  const int32_t most = AttentionWorkspace::most_rows(spec.attention(0));
  std::vector<TokenRow> rows;
  for (int32_t i = 0; i < most - 1; ++i) rows.push_back({i % 2 == 0 ? &a : &b, 3 * s + i});
  for (int32_t i = 0; i < 3; ++i) rows.push_back({i % 2 == 0 ? &c : &b, 3 * s});
  EXPECT_EQ(found(rows, 100), (Found{{0, most, 2, 0}, {most, 2, 2, 2 * most}}));
}

}  // namespace
}  // namespace farthing
