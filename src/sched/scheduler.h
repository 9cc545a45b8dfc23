// The scheduler: which tokens of which sequences run in the next step. A pure state machine: no
// tensors, threads, clock or I/O; the engine, its tests and (later) the planner's simulation run
// this same class. Owns: sequences and their leases. Invariant: running sequences hold the blocks
// of everything they may ever store, so nothing that was admitted can run out of KV.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "cache/kv_pool.h"
#include "core/batch.h"
#include "core/event.h"
#include "core/request.h"
#include "core/sequence.h"

namespace farthing {

struct SchedulerOptions {
  int32_t context = 8192;         // most tokens of one sequence
  int32_t max_sequences = 1;      // most that run at once
  int32_t max_step_tokens = 512;  // prefill stops there; decodes always fit: >= max_sequences
  bool kv_cache = true;           // off: a sequence's K/V are forgotten after each of its tokens
};

// The token that a slice with logits led to.
struct Picked {
  SequenceId sequence;
  TokenId token = 0;
  bool stop = false;  // it ends the sequence (and is part of it)
};

struct Ended {
  SequenceId sequence;
  RequestId request;
  uint32_t sample = 0;
  FinishReason reason = FinishReason::kStop;
};

class Scheduler {
 public:
  // The pool outlives the scheduler.
  Scheduler(const SchedulerOptions& options, KVPool& pool);

  // Queues the request's n sequences. Its prompt is not empty, shorter than the context, and fits
  // the pool.
  void add(RequestId id, const Request& request);
  // Ends all of the request's sequences with this reason; unknown ids are ignored.
  void end(RequestId id, FinishReason reason);

  // The next step: running sequences with one token to compute first, then prefills in order of
  // arrival, up to max_step_tokens. Empty if nothing can run. Sequences past their deadline end.
  Batch plan(TimePoint now);
  // What the planned batch computed: stored positions move on, picked tokens are appended.
  void commit(const Batch& batch, std::span<const Picked> picked);

  // The sequences that ended since the last call, in order. Their blocks are already back.
  std::vector<Ended> take_ended();

  bool idle() const { return waiting_.empty() && running_.empty(); }
  int32_t n_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t n_running() const { return static_cast<int32_t>(running_.size()); }
  void check_integrity() const;

 private:
  struct Entry {
    Sequence sequence;
    Lease lease;           // empty while waiting
    int32_t max_size = 0;  // prompt + max_tokens, at most the context
    std::optional<TimePoint> deadline;
  };
  using Entries = std::vector<std::unique_ptr<Entry>>;

  void admit();
  void end_sequence(SequenceId id, FinishReason reason);
  template <class Predicate>
  void end_if(Predicate&& predicate, FinishReason reason);

  SchedulerOptions options_;
  KVPool& pool_;
  uint32_t next_id_ = 0;
  std::deque<std::unique_ptr<Entry>> waiting_;
  Entries running_;  // in order of admission
  std::vector<Ended> ended_;
};

}  // namespace farthing
