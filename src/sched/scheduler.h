// The scheduler: which tokens of which sequences run in the next step. A pure state machine: no
// tensors, threads, clock or I/O; the engine, its tests and (later) the planner's simulation run
// this same class. Owns: sequences, their leases, the prefix tree.
//
// A step takes one token of every running sequence that has just one to compute, then prompts in
// order of admission, chunk by chunk, up to a budget. A sequence is admitted when the blocks of its
// prompt are there; it takes further ones as it grows. When none are left, idle ones are evicted;
// then the sequence that was admitted last is preempted: it gives up its blocks and computes what
// it had again later (much of it is usually still in the prefix tree). The sequence that was
// admitted first is never preempted, so there is always progress.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "cache/kv_pool.h"
#include "cache/prefix_tree.h"
#include "core/batch.h"
#include "core/event.h"
#include "core/request.h"
#include "core/sequence.h"
#include "core/wait_reason.h"
#include "sched/draft_planner.h"
#include "sched/drafter.h"
#include "sched/policy.h"
#include "sched/step_model.h"

namespace farthing {

enum class Batching : uint8_t {
  kContinuous,  // sequences join and leave at every step
  kStatic,      // a new batch starts when the last sequence of the one before has ended
  kOff,         // one sequence at a time
};

struct SchedulerOptions {
  int32_t context = 8192;         // most tokens of one sequence
  int32_t max_sequences = 1;      // most that run at once
  int32_t max_step_tokens = 512;  // prefill stops there; decodes always fit: >= max_sequences
  bool kv_cache = true;           // off: a sequence's K/V are forgotten after each of its tokens
  bool prefix_cache = true;
  bool paged = true;  // off: a sequence takes the blocks of its longest possible self at once
  Batching batching = Batching::kContinuous;
  Policy policy = Policy::kFcfs;
  double itl_target =
      0;  // seconds between a running sequence's tokens that prefill keeps to; 0: none
  uint64_t cache_key = 0;  // of the prefix tree's hash
  DraftOptions drafts;
  int32_t most_scored = 0;  // of a step: prompt positions of requests that score_prompt
};

// A token that a slice with logits led to; with a draft, one for each token of it that was right
// and one more, in order, up to the first that stops.
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
  int32_t n_cached = 0;  // see Sequence
  CacheMiss miss = CacheMiss::kOff;
  WaitSeconds waited{};
  int32_t n_preempted = 0;
};

// What is still to be done for the sequences that run or wait.
struct Backlog {
  int32_t n_sequences = 0;
  int64_t prompt_tokens = 0;  // to compute; of prompts that wait, what isn't stored, by experience
  int64_t answer_tokens = 0;  // those allowed, at most as many as answers had that ended
  double seconds = 0;         // by the step model; 0 until a step was seen
};

struct SchedulerCounts {
  int64_t prompt_tokens_computed = 0;
  int64_t prompt_tokens_cached = 0;
  int64_t prompt_tokens_looked_up = 0;  // in the prefix cache
  int64_t tokens_computed_again = 0;    // after preemption
  int64_t preemptions = 0;
  int64_t evicted_blocks = 0;
  int64_t drafts = 0;
  int64_t drafted_tokens = 0;
  int64_t accepted_tokens = 0;                    // of those
  double drafter_seconds = 0;                     // that guessing took
  std::array<int64_t, kWaitReasonCount> waits{};  // sequences and steps
  std::array<int64_t, kSliceCutCount> cuts{};     // slices
  std::array<int64_t, kCacheMissCount> misses{};  // sequences admitted for the first time
};

class Scheduler {
 public:
  // The pool holds a full context at least, is the scheduler's alone, and outlives it.
  Scheduler(const SchedulerOptions& options, KVPool& pool);

  // Queues the request's n sequences. Its prompt is not empty, shorter than the context, and fits
  // the pool.
  void add(RequestId id, const Request& request, TimePoint now = {});
  // Ends all of the request's sequences with this reason; unknown ids are ignored.
  void end(RequestId id, FinishReason reason);

  // The next step. Empty if nothing can run. Sequences past their deadline end. What is planned
  // has to be computed and committed: copies of shared blocks are made in that step alone. The
  // second form takes no memory that `batch` had before.
  Batch plan(TimePoint now);
  void plan(TimePoint now, Batch& batch);
  // What the planned batch computed: stored positions move on, picked tokens are appended.
  void commit(const Batch& batch, std::span<const Picked> picked);
  // How long the last planned batch took, planning included: for the budget.
  void observe(const Batch& batch, double seconds);
  // How long that batch would have taken without its drafts.
  double seconds_without_drafts(const Batch& batch, double seconds) const;
  // The part of a batch's time that each slice caused, in the order of the slices; their sum is 1.
  void shares(const Batch& batch, std::vector<double>& out) const;

  // The sequences that ended since the last call, in order. Their blocks are already back.
  std::vector<Ended> take_ended();

  bool idle() const { return waiting_.empty() && running_.empty(); }
  int32_t n_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t n_running() const { return static_cast<int32_t>(running_.size()); }
  SchedulerCounts counts() const;
  Backlog backlog() const;
  const StepModel& step_model() const { return step_model_; }
  void check_integrity() const;

 private:
  struct Entry {
    Sequence sequence;
    Lease lease;   // empty while waiting
    Lease source;  // a block to be copied in the next step
    PrefixTree::Path path;
    CacheSalt salt;
    uint64_t caller = 0;
    int32_t n_found = 0;   // tokens that were stored already when it was admitted
    int32_t max_size = 0;  // prompt + max_tokens, at most the context
    int32_t priority = 0;
    bool score_prompt = false;
    TimePoint arrived;
    std::optional<TimePoint> deadline;
    WaitReason waits_for = WaitReason::kNone;
    TimePoint waits_since;
    WaitSeconds waited{};
    int32_t n_preempted = 0;
    int32_t n_known = 0;  // tokens that were computed before it was preempted
    DraftControl control;
    Draft draft;

    // Only its prompt is to be computed: no token is chosen.
    bool prompt_only() const { return max_size == sequence.n_prompt; }
    bool decodes() const { return n_left() == 1; }
    int32_t n_left() const { return sequence.size() - sequence.n_stored; }
  };
  using Entries = std::vector<std::unique_ptr<Entry>>;

  bool caches_prefixes() const {
    return options_.prefix_cache && options_.kv_cache && options_.paged;
  }
  bool uses_prefixes(const Entry& entry) const { return caches_prefixes() && !entry.score_prompt; }
  int32_t free_after_eviction() const { return pool_.n_free() + pool_.n_idle(); }
  std::optional<Lease> take_blocks(int32_t n);
  struct Budget {
    int32_t tokens = 0;
    int32_t of_long_prompts = 0;        // part of them
    SliceCut limit = SliceCut::kChunk;  // why not more
  };
  struct Allotted {
    Entry* entry;
    int32_t count;
  };
  void draft();
  int32_t room_for_draft(Entry& entry);
  const StepModel& model_of(bool has_prompt) const;
  int32_t end_draft(Entry& entry, const Slice& slice, std::span<const Picked> picked);
  Budget budget(TimePoint now) const;
  double until_deadline(TimePoint now) const;  // seconds to the nearest; infinite without one
  void count_cuts(Batch& batch, SliceCut limit);
  std::vector<Allotted> allot(Budget left, Entry* candidate) const;
  void welcome(uint64_t caller);
  bool grow(Entry& entry, TimePoint now);
  void preempt_last(TimePoint now);
  void admit(Batch& batch, TimePoint now, Budget& left);
  std::vector<Entry*> order_of_admission(TimePoint now);
  bool is_turn_of_the_longest(int64_t n_admitted) const;
  bool prefix_is_coming(const Entry& entry, int32_t n_matched) const;
  WaitReason try_admit(Batch& batch, Entry& entry);
  void end_sequence(SequenceId id, FinishReason reason);
  template <class Predicate>
  void end_if(Predicate&& predicate, FinishReason reason);

  SchedulerOptions options_;
  KVPool& pool_;
  PrefixTree tree_;
  StepModel step_model_;
  StepModel decode_model_;  // of steps without prompts alone: few tokens cost less by the token
  DraftPlanner planner_;
  std::vector<Draft*> drafts_;
  double drafter_seconds_ = 0;  // for the step at hand
  SchedulerCounts counts_;
  uint32_t next_id_ = 0;
  Entries waiting_;  // preempted ones first, in order of admission; then in order of arrival
  Entries running_;  // in order of admission
  std::vector<Entry*> planned_;                  // of the last batch's slices, in their order
  std::unordered_map<uint64_t, double> served_;  // tokens, by Request::caller
  int64_t n_admitted_ = 0;
  double mean_answer_ = std::numeric_limits<double>::infinity();  // tokens; of those that ended
  std::vector<Ended> ended_;
};

}  // namespace farthing
