// Owns: what attention needs beside q, k and v: scratch for each thread of a team, the parts of
// rows that threads share, lists of tasks. Does not know: weights, what a token is. Invariant:
// nothing is allocated after create().
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "kernels/attention_task.h"
#include "model/spec.h"
#include "model/token_row.h"

namespace farthing {

enum class AttentionMode : uint8_t { kFlash, kNaive };  // --attention

// With fewer tasks than this for each thread, rows are shared out by segments.
inline constexpr int32_t kSharedTasksPerThread = 4;

struct AttentionLimits {
  int32_t n_threads = 1;
  int32_t max_tokens = 512;   // of one batch
  int32_t context = 8192;     // most positions of a sequence
  int32_t max_sequences = 1;  // that run at once
  AttentionMode mode = AttentionMode::kFlash;
};

class AttentionWorkspace {
 public:
  AttentionWorkspace() = default;
  static Result<AttentionWorkspace> create(const ModelSpec& spec, const AttentionLimits& limits);
  static int64_t bytes_needed(const ModelSpec& spec, const AttentionLimits& limits);

  // Most rows of one task: so many queries that widening a block of K or V costs little beside
  // them, so few that their scores stay in the L2 cache.
  static int32_t most_rows(const AttentionSpec& a);

  float* scratch(int64_t thread) const { return scratch_ + thread * scratch_floats_; }
  float* parts() const { return parts_; }
  int64_t parts_floats() const { return parts_floats_; }

  // Finds, for the batch at hand, rows of several sequences whose pasts begin with the same blocks:
  // what those have for them is computed for all of them together (Juravsky et al., Hydragen,
  // arXiv:2402.05099). Layers with a window don't use it.
  void find_commons(const ModelSpec& spec, std::span<const TokenRow> rows);

  // Rows [row, row + count) all see segments [0, n_segments), in the same blocks.
  struct Common {
    int32_t row, count;
    int32_t n_segments;
    int64_t first_row;  // of its rows times segments among those of all
  };
  std::vector<Common> commons;  // of the batch at hand, in order

  // Consecutive rows of one sequence: a task for each KV head.
  struct Run {
    int32_t row, count;
    const Common* common;  // or null
  };
  std::vector<Run> runs;  // of the batch at hand

  // One row's heads of one KV head, shared by whoever is free: a unit for each segment.
  struct Shared {
    int32_t row, head;
    int32_t first_segment, n_segments;
    int64_t first_unit;
  };
  std::vector<Shared> shared;

 private:
  int64_t scratch_floats_ = 0;  // of each thread
  int64_t parts_floats_ = 0;
  float* scratch_ = nullptr;
  float* parts_ = nullptr;
  Buffer buffer_;
};

}  // namespace farthing
