#include "draft/model_drafter.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using testing::must;
using testing::open_model;
using testing::random_tokens;

constexpr int32_t kBlocks = 64;

const Model& toy() {
  static const std::unique_ptr<Model> model =
      open_model(FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf", WeightMode::kNative);
  return *model;
}

// A model with its keys and values, as the engine's runner has them, and sequences in them.
struct Rig {
  Rig() {
    store = must(KVStore::create(toy().kv_shapes(KVType::kF16), kBlocks));
    decoder.emplace(must(Decoder::create(toy(), exec, {.max_logits = 8, .context = 512})));
    for (uint32_t b = kBlocks; b > 0; --b) free.push_back(BlockId{(b * 29) % kBlocks});
  }
  std::unique_ptr<ModelDrafter> drafter(ModelDrafterOptions options) {
    options.max_sequences = 4;
    options.context = 512;
    options.n_blocks = kBlocks;
    return must(ModelDrafter::create(toy(), exec, store, options));
  }
  // All tokens but the last are computed, in blocks that begin with these.
  Sequence sequence(uint32_t id, std::vector<TokenId> tokens, BlockTable shared = {}) {
    Sequence s{.id = SequenceId{id}, .tokens = std::move(tokens), .blocks = std::move(shared)};
    while (static_cast<int32_t>(s.blocks.size()) < blocks_for(s.size() + 60)) {
      s.blocks.push_back(free.back());
      free.pop_back();
    }
    compute(s);
    return s;
  }
  void compute(Sequence& s) {
    while (s.size() - 1 > s.n_stored) {
      const int32_t count = std::min(100, s.size() - 1 - s.n_stored);
      decoder->forward({{{&s, s.n_stored, count, 0}}}, store);
      s.n_stored += count;
    }
  }

  ThreadTeam team{2};
  Exec exec{&kernel_table(Isa::kRef), &team};
  KVStore store;
  std::optional<Decoder> decoder;
  BlockTable free;
  DraftControl control;
};

// The guesses, which are taken away again.
std::vector<std::vector<TokenId>> guess(ModelDrafter& drafter,
                                        std::vector<Sequence*> sequences,
                                        int32_t most,
                                        double spare = 1,
                                        double least = 0) {
  static DraftControl control;
  std::vector<Draft> drafts;
  std::vector<Draft*> pointers;
  for (Sequence* s : sequences)
    drafts.push_back(
        {.sequence = s, .control = &control, .most = most, .left = 99, .least = least});
  for (Draft& draft : drafts) pointers.push_back(&draft);
  drafter.guess(pointers, spare);
  EXPECT_GT(drafter.spent(), 0);
  std::vector<std::vector<TokenId>> guesses;
  for (Draft& draft : drafts) {
    const Sequence& s = *draft.sequence;
    guesses.emplace_back(s.tokens.end() - s.n_draft, s.tokens.end());
    draft.cut(0);
  }
  return guesses;
}

// The model's first layers guess the same from the model's keys and values as from their own,
// alone and together, while sequences grow by right and wrong guesses.
TEST(ModelDrafter, TheModelsKeysAndValuesAreItsOwn) {
  for (const int32_t n_layers : {1, 2, 3}) {
    Rig rig;
    const auto shares = rig.drafter({.n_layers = n_layers, .shares = true});
    const auto own = rig.drafter({.n_layers = n_layers});
    const auto alone = rig.drafter({.n_layers = n_layers});
    Sequence a = rig.sequence(1, random_tokens(384, 50, 1));
    Sequence b = rig.sequence(2, random_tokens(384, 97, 2));
    for (int round = 0; round < 12; ++round) {
      std::vector<std::vector<TokenId>> got;
      while (got = guess(*own, {&a, &b}, 5), got[0].empty() || got[1].empty()) {
      }
      EXPECT_EQ(guess(*shares, {&a, &b}, 5), got) << n_layers << ' ' << round;
      std::vector<std::vector<TokenId>> single;
      while (single = guess(*alone, {&a}, 5), single[0].empty()) {
      }
      EXPECT_EQ(single[0], got[0]);
      // Some guesses are right, the next token is another.
      for (Sequence* s : {&a, &b}) {
        const auto& guessed = got[s == &b ? 1 : 0];
        s->tokens.insert(s->tokens.end(), guessed.begin(), guessed.begin() + round % 6);
        s->tokens.push_back((round * 31 + 7) % 384);
        rig.compute(*s);
      }
    }
  }
}

TEST(ModelDrafter, ReadsABlockOnce) {
  Rig rig;
  const auto drafter = rig.drafter({});
  const std::vector<TokenId> prompt = random_tokens(384, 200, 3);
  Sequence a = rig.sequence(1, prompt);
  std::vector<std::vector<TokenId>> first;
  int n_steps = 0;
  while (first = guess(*drafter, {&a}, 3), first[0].empty()) ASSERT_LT(++n_steps, 20);
  EXPECT_GE(n_steps, 1);  // not all at once
  EXPECT_EQ(drafter->n_read(), 200);
  // Another that has the same blocks, as far as they are whole; its end is its own.
  Sequence b = rig.sequence(2, prompt, {a.blocks.begin(), a.blocks.begin() + 6});
  EXPECT_EQ(guess(*drafter, {&b}, 3), first);
  EXPECT_EQ(drafter->n_read(), 200 + 8);
  // The first one loses its blocks and gets them back.
  drafter->forget(a.id);
  EXPECT_EQ(guess(*drafter, {&a}, 3), first);
  EXPECT_EQ(drafter->n_read(), 200 + 16);
  // Somebody else gets them: nothing of what was there is taken for theirs.
  drafter->forget(a.id);
  drafter->forget(b.id);
  Sequence c = rig.sequence(3, random_tokens(384, 200, 4), a.blocks);
  std::vector<std::vector<TokenId>> other;
  while (other = guess(*drafter, {&c}, 3), other[0].empty()) {
  }
  EXPECT_EQ(drafter->n_read(), 216 + 200);
  const auto fresh = rig.drafter({});
  std::vector<std::vector<TokenId>> want;
  while (want = guess(*fresh, {&c}, 3), want[0].empty()) {
  }
  EXPECT_EQ(other, want);
}

// A long prompt is read in pieces, and others get their guesses meanwhile.
TEST(ModelDrafter, ReadingHoldsNobodyUp) {
  Rig rig;
  const auto drafter = rig.drafter({});
  Sequence little = rig.sequence(1, random_tokens(384, 10, 5));
  Sequence large = rig.sequence(2, random_tokens(384, 400, 6));
  Sequence second = rig.sequence(3, random_tokens(384, 300, 7));
  for (int i = 0; i < 30; ++i) guess(*drafter, {&little}, 8);  // what a pass takes is known
  int n_steps = 0;
  for (bool read = false; !read; ++n_steps) {
    const int64_t before = drafter->n_read();
    const auto got = guess(*drafter, {&little, &large, &second}, 2, 1e-9);
    EXPECT_EQ(got[0].size(), 2u);
    EXPECT_LE(drafter->n_read() - before, 3 + ModelDrafter::kMostRead);
    read = !got[1].empty() && !got[2].empty();
    ASSERT_LT(n_steps, 100);
  }
  EXPECT_GE(n_steps, 700 / ModelDrafter::kMostRead);
}

TEST(ModelDrafter, StopsWhereGuessesAreTooUnlikely) {
  Rig rig;
  const auto drafter = rig.drafter({.shares = true});
  Sequence s = rig.sequence(1, random_tokens(384, 30, 8));
  EXPECT_EQ(guess(*drafter, {&s}, 7)[0].size(), 7u);
  EXPECT_EQ(guess(*drafter, {&s}, 7, 1, 0.999)[0].size(), 1u);
}

TEST(ModelDrafter, KnowsItsCost) {
  Rig rig;
  const auto drafter = rig.drafter({});
  Sequence a = rig.sequence(1, random_tokens(384, 20, 9));
  Sequence b = rig.sequence(2, random_tokens(384, 300, 10));
  DraftControl control;
  Draft of_a{.sequence = &a, .control = &control}, of_b{.sequence = &b, .control = &control};
  const std::vector<Draft*> drafts = {&of_a, &of_b};
  EXPECT_FALSE(drafter->cost(drafts).nothing());
  for (int i = 0; i < 30; ++i) guess(*drafter, {&a}, 4);
  const Drafter::Cost cost = drafter->cost(drafts);
  EXPECT_GT(cost.pass + cost.sequence, 1e-6);
  EXPECT_GT(of_b.unread, 0);
  EXPECT_EQ(of_a.unread, 0);
}

}  // namespace
}  // namespace farthing
