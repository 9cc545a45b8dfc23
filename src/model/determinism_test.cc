// The same tokens give the same logits, bit for bit, whatever is computed beside them: decision 8
// of the architecture. Every toy, every ISA.
#include <gtest/gtest.h>

#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using testing::distance;
using testing::first_difference;
using testing::Golden;
using testing::logits_beside_others;
using testing::open_model;
using testing::random_tokens;
using testing::Rig;
using testing::RigOptions;

constexpr int32_t kTokens = 100;  // three KV blocks and a part of a fourth
constexpr int32_t kContext = 128;

class Determinism : public ::testing::TestWithParam<std::tuple<Golden, WeightMode>> {
 protected:
  void SetUp() override {
    model_ = open_model(std::get<0>(GetParam()).path, std::get<1>(GetParam()));
    tokens_ = random_tokens(vocab(), kTokens, 7);
  }

  static RigOptions options(Isa isa, KVTypes kv_type = KVType::kF16) {
    return {.isa = isa, .kv_type = kv_type, .context = kContext, .n_sequences = 4};
  }
  // Alone, one thread, in one go.
  std::vector<float> baseline(const RigOptions& options) const {
    return Rig(*model_, options).logits_of(tokens_, kTokens);
  }
  int32_t vocab() const { return model_->spec.vocab_size; }

  std::unique_ptr<Model> model_;
  std::vector<TokenId> tokens_;
};

struct Split {
  int32_t n_threads;
  int32_t chunk;
};
constexpr Split kSplits[] = {{1, 1}, {1, 7}, {1, 64}, {2, 7}, {2, 64}, {2, kTokens}, {3, 7}};

TEST_P(Determinism, ChunksThreadsAndBlocks) {
  for (Isa isa : supported_isas()) {
    for (KVTypes kv_type : {KVTypes(KVType::kF16),
                            KVTypes(KVType::kF32),
                            KVTypes(KVType::kBF16),
                            KVTypes(KVType::kInt8),
                            KVTypes(KVType::kInt4),
                            KVTypes(KVType::kInt8, KVType::kInt4)}) {
      const RigOptions plain = options(isa, kv_type);
      const std::vector<float> expected = baseline(plain);
      for (const Split& split : kSplits) {
        if (kv_type != KVType::kF16 && split.chunk != 7)
          continue;  // the types differ in one kernel
        RigOptions other = plain;
        other.n_threads = split.n_threads;
        other.block_seed = 100 + static_cast<uint32_t>(split.chunk);
        Rig rig(*model_, other);
        EXPECT_EQ(first_difference(rig.logits_of(tokens_, split.chunk), expected, vocab()), -1)
            << isa_name(isa) << " threads " << split.n_threads << " chunk " << split.chunk;
      }
    }
  }
}

// The comparison must be able to fail, and only from the token that changed.
TEST_P(Determinism, AnotherTokenIsSeenFromItsPositionOn) {
  const std::vector<float> expected = baseline(options(Isa::kRef));
  tokens_[57] = (tokens_[57] + 1) % vocab();
  EXPECT_EQ(first_difference(baseline(options(Isa::kRef)), expected, vocab()), 57);
}

TEST_P(Determinism, BesideOthers) {
  for (Isa isa : supported_isas()) {
    const std::vector<float> expected = baseline(options(isa));
    RigOptions busy = options(isa);
    busy.n_threads = 2;
    Rig rig(*model_, busy);
    EXPECT_EQ(first_difference(logits_beside_others(rig, tokens_, 3), expected, vocab()), -1)
        << isa_name(isa);
  }
}

// --kv-cache off: the whole prefix again for each token, over whatever the blocks held before.
TEST_P(Determinism, WithoutKVCache) {
  for (Isa isa : supported_isas()) {
    const std::vector<float> expected = baseline(options(isa));
    Rig rig(*model_, options(isa));
    Sequence s = rig.sequence(tokens_, kTokens);
    for (int32_t n : {kTokens, 1, 2, 31, 32, 33, 63, 64, 65, kTokens}) {
      const std::vector<float> last = rig.flat(rig.forward({{{&s, 0, n, 1}}}));
      const auto want = std::span(expected).subspan(
          static_cast<size_t>(n - 1) * static_cast<size_t>(vocab()), static_cast<size_t>(vocab()));
      EXPECT_EQ(first_difference(last, want, vocab()), -1) << isa_name(isa) << " length " << n;
    }
  }
}

// The best logits that the head keeps are those of all logits, whatever the threads. So little room
// for logits that the vocabulary's 24 tiles come in several pieces.
TEST_P(Determinism, TheBestLogitsAreAmongAll) {
  constexpr int32_t kBest = 7;
  for (Isa isa : supported_isas()) {
    for (int32_t n_rows : {1, 5, 40}) {
      for (int32_t n_threads : {1, 3}) {
        RigOptions few = options(isa);
        few.n_threads = n_threads;
        few.max_logits = n_rows;
        Rig rig(*model_, few);
        Sequence s = rig.sequence(tokens_, kTokens);
        const std::vector<float> all = rig.flat(rig.forward({{{&s, 0, kTokens, n_rows}}}));
        const Logits best = rig.logits({{{&s, 0, kTokens, n_rows, kBest}}});
        ASSERT_EQ(best.all.rows, 0) << "no room for the threads' pieces";
        for (int32_t r = 0; r < n_rows; ++r) {
          const auto row = std::span(all).subspan(static_cast<size_t>(r * vocab()),
                                                  static_cast<size_t>(vocab()));
          EXPECT_TRUE(std::ranges::equal(best.best_of(r), top_k_of(row, kBest)))
              << isa_name(isa) << " threads " << n_threads << " row " << r << " of " << n_rows;
        }
      }
    }
  }
}

// Two ways to compute the same attention: not the same bits, but the same choices. On float32
// weights: where activations are rounded to int8, a difference in the last bit turns a rounding now
// and then, and near ties fall either way.
TEST_P(Determinism, NaiveAttentionChoosesTheSameTokens) {
  const auto model = open_model(std::get<0>(GetParam()).path, WeightMode::kF32);
  const std::vector<TokenId> prompt(tokens_.begin(), tokens_.begin() + 40);
  for (Isa isa : supported_isas()) {
    const RigOptions flash = options(isa, KVType::kF32);
    RigOptions naive = flash;
    naive.attention = AttentionMode::kNaive;
    Rig by_flash(*model, flash);
    Rig by_scores(*model, naive);
    const auto d = distance(by_scores.logits_of(tokens_, 64), by_flash.logits_of(tokens_, 64));
    EXPECT_LE(d.worst, 1e-5) << isa_name(isa);
    EXPECT_EQ(by_scores.greedy(prompt, 32), by_flash.greedy(prompt, 32)) << isa_name(isa);
  }
}

std::string row_name(const ::testing::TestParamInfo<std::tuple<Golden, WeightMode>>& info) {
  const WeightMode mode = std::get<1>(info.param);
  return testing::test_name(std::get<0>(info.param).name) + (mode == WeightMode::kNative ? "_native"
                                                             : mode == WeightMode::kF32  ? "_f32"
                                                                                         : "_int8");
}

INSTANTIATE_TEST_SUITE_P(Native,
                         Determinism,
                         ::testing::Combine(::testing::ValuesIn(testing::read_goldens()),
                                            ::testing::Values(WeightMode::kNative)),
                         row_name);
INSTANTIATE_TEST_SUITE_P(
    Converted,
    Determinism,
    ::testing::Combine(::testing::Values(testing::read_goldens().at(8)),  // every weight format
                       ::testing::Values(WeightMode::kF32, WeightMode::kInt8)),
    row_name);

}  // namespace
}  // namespace farthing
