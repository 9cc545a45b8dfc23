// Guesses by a model: a smaller one with the same vocabulary, or the first layers of the model
// itself. Its likeliest token each time, for all sequences at once: a pass for each place of the
// drafts. Owns: a decoder; for another model its keys and values, which lie in the blocks of the
// same ids as the model's. Does not know: who has which blocks, whether a guess was right.
//
// The first layers' keys and values are the model's own, bit for bit: they lie where the model has
// put them, and what guesses add the model writes over. Another model has to read a sequence
// itself, a long one over several steps; what it read of a whole block it finds again under a hash
// of the tokens up to there, whoever has the block then. Guessing wrong costs time and nothing
// else, so a hash will do.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "cache/kv_store.h"
#include "core/batch.h"
#include "model/decoder.h"
#include "sched/drafter.h"
#include "sched/step_model.h"

namespace farthing {

struct ModelDrafterOptions {
  int32_t n_layers = 0;       // only the first so many; 0: all
  int32_t max_sequences = 1;  // that may get drafts in one step
  int32_t context = 8192;
  KVTypes kv_type;
  AttentionMode attention = AttentionMode::kFlash;
  int32_t n_blocks = 0;  // of the pool that sequences have theirs from
  bool shares = false;   // the model's keys and values: these are its own first layers
};

class ModelDrafter : public Drafter {
 public:
  // model, exec's team and the model's `store` outlive it.
  static Result<std::unique_ptr<ModelDrafter>> create(const Model& model,
                                                      Exec exec,
                                                      const KVStore& store,
                                                      const ModelDrafterOptions& options);
  // Of workspace and keys and values.
  static int64_t bytes_needed(const Model& model,
                              int32_t n_threads,
                              const ModelDrafterOptions& options);

  void guess(std::span<Draft* const> drafts, double spare) override;
  Cost cost(std::span<Draft* const> drafts) override;
  double spent() const override { return spent_; }
  void forget(SequenceId id) override { sequences_.erase(id.v); }

  int64_t n_read() const { return n_read_; }  // tokens of sequences, guesses not counted
  // Most tokens that are read in one step.
  static constexpr int32_t kMostRead = 128;

 private:
  ModelDrafter() = default;

  // Of a sequence's tokens up to a block's end; 0: what is stored there belongs to nobody.
  using BlockHash = uint64_t;
  // What is known of a sequence that has keys and values of its own here.
  struct State {
    int32_t n_stored = 0;          // positions whose keys and values are right
    std::vector<BlockHash> whole;  // blocks of them that are whole
    BlockId tail;                  // the block behind these
    int32_t size = 0;              // of the sequence when it was last guessed for
    std::vector<TokenId> guessed;  // behind that

    int32_t n_whole() const { return static_cast<int32_t>(whole.size()); }
    BlockHash hash() const { return whole.empty() ? 0 : whole.back(); }
  };
  struct Going {
    Draft* draft;
    int32_t n_stored;
    double reached;  // the probability that all guesses so far are right
  };

  struct Likeliest {
    TokenId token = 0;
    float margin = 0;  // over the second likeliest
  };

  int32_t n_stored(const Sequence& sequence);
  State& look(const Sequence& sequence);
  void advance(const Sequence& sequence, State& state, int32_t n_stored);
  double seconds_to_read(const Sequence& sequence, double seconds_of_pass) const;
  void start(std::span<Draft* const> drafts, double spare);
  void compute();
  void pick(const Logits& logits);
  Likeliest likeliest_of(const Logits& logits, int64_t row);
  void keep(const Going& going);
  static Slice slice_of(const Sequence& sequence, int32_t first, int32_t count);

  ModelDrafterOptions options_;
  int32_t max_tokens_ = 0;
  KVStore own_;
  const KVStore* store_ = nullptr;
  std::optional<Decoder> decoder_;
  std::vector<BlockHash> blocks_;  // by BlockId: whose keys and values are stored, if whole
  std::unordered_map<uint32_t, State> sequences_;
  StepModel passes_;  // of guesses alone
  StepModel reads_;   // of passes in which something is read too
  double spent_ = 0;
  int64_t n_read_ = 0;

  Batch batch_;  // of the pass at hand
  TopK top_;
  std::vector<Going> going_;  // those of the batch that get a guess, in its order
};

}  // namespace farthing
