// Decoder: the one forward loop. Owns: its workspace. Does not know: requests, sampling, which
// blocks are free. Exact: a token's logits depend on its sequence's tokens only, bit for bit: not
// on chunk, batch or threads.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "cache/kv_store.h"
#include "core/batch.h"
#include "model/exec.h"
#include "model/mixer_attention.h"
#include "model/model.h"
#include "model/workspace.h"

namespace farthing {

struct DecoderOptions {
  int32_t max_tokens = 512;  // most tokens of a batch
  int32_t max_logits = 1;    // most positions of a batch that get logits
  int32_t context = 8192;    // most positions of a sequence
  KVType kv_type = KVType::kF16;
  AttentionMode attention = AttentionMode::kFlash;
};

class Decoder {
 public:
  // model and exec outlive the decoder.
  static Result<Decoder> create(const Model& model, Exec exec, const DecoderOptions& options);
  static int64_t workspace_bytes(const ModelSpec& spec,
                                 const DecoderOptions& options,
                                 int32_t n_threads);

  // Stores K and V of the batch's tokens and returns logits [batch.n_logits()][vocab], slice by
  // slice, valid until the next call and free to be written. The sequences' block tables cover
  // every position of their slices.
  Matrix<float> forward(const Batch& batch, const KVStore& store);

 private:
  Decoder() = default;
  void embed(const Batch& batch);
  Matrix<float> head(const Batch& batch, const Residual& residual);

  const Model* model_ = nullptr;
  Exec exec_;
  DecoderOptions options_;
  Workspace ws_;
  AttentionWorkspace attention_;
};

}  // namespace farthing
