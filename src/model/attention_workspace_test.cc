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
      const AttentionLimits limits{n_threads, 512, 8192, mode};
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

}  // namespace
}  // namespace farthing
