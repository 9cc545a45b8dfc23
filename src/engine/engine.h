// Owns: the one thread that runs scheduler, cache and model. Does not know: HTTP, JSON, terminals.
// Requests come in through a mailbox, Events go out through each request's sink.
// Invariant: every accepted request gets exactly one RequestEnd, after which its sink is never
// called again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "core/event.h"
#include "core/progress.h"
#include "core/request.h"
#include "engine/loaded_model.h"
#include "engine/metrics.h"
#include "kernels/isa.h"
#include "kernels/kv_type.h"
#include "model/decoder.h"
#include "sched/scheduler.h"

namespace farthing {

// Who guesses at the tokens that come next; changes no answer.
enum class Speculation : uint8_t {
  kOff,
  kLookup,  // what the text had before (sched/lookup_drafter.h)
  kSuffix,  // that, and earlier answers (sched/suffix_drafter.h)
  kDraft,   // a smaller model (draft/model_drafter.h)
  kSelf,    // the first layers of the model itself
};

struct EngineOptions {
  int32_t n_threads = 0;      // 0: from affinity, cpuset, cgroup quota and cores
  std::optional<Isa> isa;     // none: the best this CPU has
  int32_t context = 0;        // most tokens of one sequence; 0: min(model context, 8192)
  int32_t max_sequences = 1;  // most that run at once
  // Bytes of the KV pool, which holds a full context at least. 0: max_sequences of them, as far as
  // this share of the free memory (or of what memory_limit leaves) goes, but at least one.
  int64_t kv_memory = 0;
  double kv_share = 1;
  int32_t chunk = 512;  // most prompt tokens in one step
  KVTypes kv_type;
  // Each of these may be switched off and changes no answer, only what it costs.
  bool kv_cache = true;  // off: every step recomputes the whole prefix (the ladder's bottom)
  AttentionMode attention = AttentionMode::kFlash;
  bool prefix_cache = true;  // keep what ended and share what begins alike
  bool paged = true;         // off: a sequence takes the blocks of all its possible tokens at once
  Batching batching = Batching::kContinuous;
  Policy policy = Policy::kFcfs;
  double itl_target = 0;  // seconds between tokens that prompts of others may not exceed; 0: none
  Speculation speculate = Speculation::kOff;
  const Model* draft_model = nullptr;  // of kDraft; outlives the engine
  int32_t draft_layers = 0;            // of kSelf; 0: a quarter of them
  // For benchmarks: what guesses instead of the drafter above.
  std::function<std::unique_ptr<Drafter>(std::unique_ptr<Drafter>)> wrap_drafter;
  int32_t draft_tokens = 0;    // guessed at a time, at most 15; 0: as many as pay
  bool score_prompts = false;  // Request::score_prompt is allowed, and takes some MiB of logits
  int64_t memory_limit = 0;    // bytes of the whole process; 0: what cgroup or machine have free
};

class Engine {
 public:
  // kNoResource, with the arithmetic, if KV and workspace don't fit.
  static Result<std::unique_ptr<Engine>> start(const LoadedModel& model,
                                               const EngineOptions& options);
  ~Engine();  // cancels what runs and joins the thread

  // Called on the engine thread; must not block.
  using Sink = std::function<void(Event)>;

  // Any thread. kUsage if the request can't be run (prompt longer than the context, ids outside the
  // vocabulary).
  Result<RequestId> submit(Request request, Sink sink);
  // Any thread. The request ends with FinishReason::kCancelled within one step; unknown ids are
  // ignored.
  void cancel(RequestId id);

  // Any thread, and never waits: it answers even while a step hangs.
  Progress progress() const;
  // Any thread. As of the last step.
  EngineMetrics metrics() const;

  int32_t context() const;  // most tokens of one sequence
  int32_t n_threads() const;
  Isa isa() const;
  int64_t kv_bytes() const;
  int64_t workspace_bytes() const;
  const EngineOptions& options() const;  // as given, but the context is that of context()
  int64_t drafter_bytes() const;         // at most

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farthing
