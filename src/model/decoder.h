// Decoder: the one forward loop. Owns: its workspace. Does not know: requests, sampling, which
// blocks are free. Exact: a token's logits depend on its sequence's tokens only, bit for bit: not
// on chunk, batch or threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "cache/kv_store.h"
#include "core/batch.h"
#include "core/top_k.h"
#include "model/exec.h"
#include "model/mixer_attention.h"
#include "model/model.h"
#include "model/workspace.h"

namespace farthing {

struct DecoderOptions {
  int32_t max_tokens = 512;  // most tokens of a batch
  int32_t max_logits = 1;    // most positions of a batch that get logits
  int32_t context = 8192;    // most positions of a sequence
  KVTypes kv_type;
  AttentionMode attention = AttentionMode::kFlash;
  int32_t n_layers = 0;  // only the first so many, then the last norm and the head; 0: all
};

// What a forward pass found for the batch's n_logits() positions, slice by slice: valid until the
// next one.
struct Logits {
  Matrix<float> all;     // [n_logits][vocab], free to be written; or no rows and,
  std::span<TopK> best;  // if batch.best_only(), the n_best best of each

  // Of position i; one of the two is empty.
  std::span<float> all_of(int64_t i) const { return all.rows > 0 ? all[i] : std::span<float>(); }
  std::span<const Candidate> best_of(int64_t i) const {
    return all.rows > 0 ? std::span<const Candidate>() : best[static_cast<size_t>(i)].finish();
  }
};

class Decoder {
 public:
  // model and exec outlive the decoder.
  static Result<Decoder> create(const Model& model, Exec exec, const DecoderOptions& options);
  static int64_t workspace_bytes(const ModelSpec& spec,
                                 const DecoderOptions& options,
                                 int32_t n_threads);

  // Stores K and V of the batch's tokens and returns their logits. The sequences' block tables
  // cover every position of their slices.
  Logits forward(const Batch& batch, const KVStore& store);

 private:
  Decoder() = default;
  void embed(const Batch& batch);
  Logits head(const Batch& batch, const Residual& residual);
  bool best_logits(const Batch& batch, int64_t n_rows);
  void soften(Matrix<float> logits) const;

  const Model* model_ = nullptr;
  Exec exec_;
  DecoderOptions options_;
  Workspace ws_;
  AttentionWorkspace attention_;
  std::vector<TopK> best_;  // [threads][max_logits]
};

}  // namespace farthing
