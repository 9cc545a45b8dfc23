// Runner: Batch -> logits. Owns: thread team, KV bytes, decoder. Does not know: requests, which
// blocks are free.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/thread_team.h"
#include "cache/kv_store.h"
#include "core/batch.h"
#include "kernels/isa.h"
#include "model/decoder.h"
#include "model/model.h"

namespace farthing {

// Bytes that are taken before there is a Runner: what the process has in memory (program,
// tokenizer, weights), and the file's pages that will come in.
int64_t memory_taken(const Model& model);

struct RunnerOptions {
  int32_t n_threads = 0;     // 0: cpu_budget().threads
  std::optional<Isa> isa;    // none: best_isa()
  int32_t n_blocks = 0;      // KVBlocks of all sequences together
  int64_t memory_limit = 0;  // bytes of the whole process; 0: memory_budget() has what is free
  int64_t beside = 0;        // bytes that something else is going to take
  DecoderOptions decoder;
  const InputObserver* observer = nullptr;  // outlives the runner
};

class Runner {
 public:
  // The model outlives the runner. kUsage for an ISA this CPU lacks;
  // kNoResource, with the arithmetic, if KV and workspace don't fit beside what is taken.
  static Result<std::unique_ptr<Runner>> create(const Model& model, const RunnerOptions& options);

  // Copies the batch's blocks, then as Decoder::forward. Not thread-safe: one thread owns a runner.
  Logits forward(const Batch& batch) {
    for (const BlockCopy& copy : batch.copies) store_.copy_block(copy.from, copy.to);
    return decoder_->forward(batch, store_);
  }

  ThreadTeam& team() { return *team_; }
  Exec exec() { return {&kernel_table(isa_), team_.get()}; }
  const KVStore& store() const { return store_; }
  int32_t n_threads() const { return team_->size(); }
  Isa isa() const { return isa_; }
  int64_t kv_bytes() const { return store_.size_bytes(); }
  int64_t workspace_bytes() const { return workspace_bytes_; }

 private:
  Runner() = default;

  Isa isa_ = Isa::kRef;
  std::unique_ptr<ThreadTeam> team_;
  KVStore store_;
  std::optional<Decoder> decoder_;
  int64_t workspace_bytes_ = 0;
};

}  // namespace farthing
