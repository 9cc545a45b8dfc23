#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "draft/model_drafter.h"
#include "engine/runner.h"
#include "sample/sampler.h"
#include "sample/stop_matcher.h"
#include "sched/lookup_drafter.h"
#include "sched/scheduler.h"
#include "sched/suffix_drafter.h"
#include "text/stream_decoder.h"

namespace farthing {
namespace {

// The text side of one sample: tokens in, showable text out.
struct Stream {
  Stream(const Tokenizer& tokenizer, const Request& request)
      : decoder(tokenizer, request.skip_special), stops(request.stop, request.include_stop) {}
  StreamDecoder decoder;
  StopMatcher stops;
  bool stopped = false;  // by a stop string: nothing more may be shown
  int32_t n_tokens = 0;
  TimePoint first_token{}, last_token{};

  std::string finish() {
    if (stopped) return {};
    StopMatcher::Step step = stops.push(decoder.finish());
    if (!step.stopped) step.text += stops.finish();
    return std::move(step.text);
  }
};

// Drafted tokens of a step, all sequences together.
constexpr int32_t kMostDrafted = 32;

// Prompt positions of a step that are scored: logits of so many bytes.
constexpr int64_t kScoredBytes = int64_t{8} << 20;
constexpr int64_t kMostScored = 32;

// No secret, but nobody outside can guess it.
uint64_t random_key() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

struct Active {
  Request request;
  Engine::Sink sink;
  std::vector<TokenId> banned;  // before min_tokens: what would end it
  std::vector<Stream> streams;  // by sample
  int32_t n_open = 0;           // samples that haven't ended
  int64_t n_computed = 0;       // tokens, again or not
  int32_t n_scored = 1;         // of the prompt: the first has nothing before it
  Usage usage;
  Timings timings;
  Timeline timeline;
  TimePoint submitted{}, started{}, first_token{}, last_token{};
};

struct Submit {
  RequestId id;
  Request request;
  Engine::Sink sink;
  TimePoint at;
};
struct Cancel {
  RequestId id;
};
using Command = std::variant<Submit, Cancel>;

}  // namespace

struct Engine::Impl {
  const LoadedModel* model = nullptr;
  EngineOptions options;
  std::unique_ptr<Runner> runner;
  std::unique_ptr<KVPool> pool;
  std::unique_ptr<Drafter> drafter;
  int64_t drafter_bytes = 0;
  std::unique_ptr<Scheduler> scheduler;

  // The mailbox.
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<Command> mailbox;
  bool stopping = false;
  EngineMetrics shown_metrics;  // guarded by mutex
  uint32_t next_request = 1;

  // What progress() reads; times are Clock ticks, and 0 means never.
  std::atomic<int32_t> n_open = 0;  // requests that were submitted and haven't ended
  std::atomic<Clock::rep> work_came = 0;
  std::atomic<Clock::rep> last_step = 0;

  // The engine thread's own.
  std::map<RequestId, Active> active;
  EngineMetrics metrics;

  Batch batch;                 // of the step at hand
  std::vector<double> shares;  // of the step's time, by slice
  double plain_seconds = 0;    // what it would have taken without drafts
  // A row of the logits at hand: of a sequence as if the first n_draft of its draft were right.
  // Below zero: of one that has only so many tokens less, the next of which is scored.
  struct Row {
    const Sequence* sequence;
    int32_t n_draft;
  };
  std::vector<Row> rows;
  std::vector<Sampled> sampled;
  std::vector<Picked> picked;
  ModelWork model_work;
  std::thread thread;

  Status check_drafter();
  ModelDrafterOptions drafter_options(int32_t n_blocks) const;
  int64_t block_bytes() const;
  int64_t bytes_of_drafter(int32_t n_blocks) const;
  Status make_drafter(int32_t n_blocks);
  Status validate(const Request& request) const;
  void loop();
  bool take_mail();  // false: stop
  void step();
  void plan(TimePoint now);
  int32_t best_needed_by(const Sequence& sequence, const Request& request) const;
  void publish_scored(const Sequence& sequence, int32_t index, Sampled&& scored);
  void choose(const Logits& logits);
  void account(TimePoint began, TimePoint done);
  void count_draft(const Slice& slice, Active& entry, double seconds);
  void count_token(const Sequence& sequence, int32_t n_draft, bool right);
  void publish_tokens(TimePoint now);
  // True: the token stops its sequence.
  bool publish_token(const Sequence& sequence, int32_t n_draft, Sampled&& chosen, TimePoint now);
  void publish_ended(TimePoint now);
  void count_ended(const Ended& ended, Active& entry);
  RequestEnd end_of(RequestId id, Active& entry, TimePoint now);
  void show_metrics();
  bool is_stop(const Request& request, TokenId token) const;
  std::vector<TokenId> tokens_that_end(const Request& request) const;
};

Result<std::unique_ptr<Engine>> Engine::start(const LoadedModel& model,
                                              const EngineOptions& given) {
  auto impl = std::make_unique<Impl>();
  impl->model = &model;
  EngineOptions& options = impl->options;
  options = given;
  if (options.context <= 0) {
    options.context = std::min(model.context_length(), 8192);
    if (const Model* draft = options.draft_model)
      options.context = std::min(options.context, draft->spec.context_length);
  }
  if (options.context > model.context_length()) {
    return usage_error(
        "--ctx {}: this model was trained for {} tokens", options.context, model.context_length());
  }
  if (options.context < 2)
    return usage_error("--ctx {}: at least 2 tokens are needed", options.context);
  options.max_sequences = std::max(options.max_sequences, 1);
  const int32_t most_drafted = options.speculate == Speculation::kOff ? 0 : kMostDrafted;
  FARTHING_TRY_VOID(impl->check_drafter());
  const int64_t row_bytes =
      int64_t{model.model->spec.vocab_size} * static_cast<int64_t>(sizeof(float));
  const auto most_scored =
      options.score_prompts
          ? static_cast<int32_t>(std::clamp<int64_t>(kScoredBytes / row_bytes, 1, kMostScored))
          : 0;
  const int32_t step_tokens =
      std::max(std::clamp(options.chunk, 1, options.context), options.max_sequences + most_drafted);
  const int64_t one = blocks_for(options.context);
  int64_t n_blocks = options.max_sequences * one;
  const int64_t block_bytes = impl->block_bytes();
  if (options.kv_memory > 0) {
    if (options.kv_memory < one * block_bytes) {
      return no_resource(
          "--kv-memory {} MiB: one sequence of {} tokens takes {} MiB: give more, or a smaller "
          "--ctx",
          options.kv_memory >> 20,
          options.context,
          (one * block_bytes + (1 << 20) - 1) >> 20);
    }
    n_blocks = std::min(options.kv_memory / block_bytes, n_blocks);
  } else {
    const int64_t memory =
        options.memory_limit > 0
            ? std::max<int64_t>(options.memory_limit - memory_taken(*model.model), 0)
            : memory_budget().available;
    const double share = options.kv_share * static_cast<double>(memory);
    if (options.kv_share < 1)
      n_blocks = std::clamp(static_cast<int64_t>(share) / block_bytes, one, n_blocks);
  }
  if (n_blocks > (int64_t{1} << 30) / kKVBlockTokens) {
    return no_resource("{} sequences of {} tokens are too many: use a smaller --ctx or --max-seqs",
                       options.max_sequences,
                       options.context);
  }
  impl->drafter_bytes = impl->bytes_of_drafter(static_cast<int32_t>(n_blocks));
  FARTHING_TRY(
      impl->runner,
      Runner::create(*model.model,
                     {.n_threads = options.n_threads,
                      .isa = options.isa,
                      .n_blocks = static_cast<int32_t>(n_blocks),
                      .memory_limit = options.memory_limit,
                      .beside = impl->drafter_bytes,
                      .decoder = {.max_tokens = step_tokens,
                                  .max_logits = options.max_sequences + most_drafted + most_scored,
                                  .context = options.context,
                                  .kv_type = options.kv_type,
                                  .attention = options.attention}}));
  impl->pool = std::make_unique<KVPool>(static_cast<int32_t>(n_blocks));
  FARTHING_TRY_VOID(impl->make_drafter(static_cast<int32_t>(n_blocks)));
  if (options.wrap_drafter && impl->drafter)
    impl->drafter = options.wrap_drafter(std::move(impl->drafter));
  impl->scheduler =
      std::make_unique<Scheduler>(SchedulerOptions{.context = options.context,
                                                   .max_sequences = options.max_sequences,
                                                   .max_step_tokens = step_tokens,
                                                   .kv_cache = options.kv_cache,
                                                   .prefix_cache = options.prefix_cache,
                                                   .paged = options.paged,
                                                   .batching = options.batching,
                                                   .policy = options.policy,
                                                   .itl_target = options.itl_target,
                                                   .cache_key = random_key(),
                                                   .drafts = {.drafter = impl->drafter.get(),
                                                              .most_drafted = most_drafted,
                                                              .draft_tokens = options.draft_tokens},
                                                   .most_scored = most_scored},
                                  *impl->pool);
  impl->model_work = ModelWork(*model.model, options.kv_type);
  const auto most_rows = static_cast<size_t>(options.max_sequences + most_drafted + most_scored);
  impl->sampled.resize(most_rows);
  impl->rows.reserve(most_rows);
  impl->picked.reserve(most_rows);
  EngineMetrics& metrics = impl->metrics;
  metrics.began = metrics.accounted_until = Clock::now();
  metrics.working = true;  // until it waits for the first time
  metrics.kv_type = options.kv_type;
  metrics.prefix_cache = options.prefix_cache;
  impl->shown_metrics = metrics;
  impl->thread = std::thread([raw = impl.get()] { raw->loop(); });
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Status Engine::Impl::check_drafter() {
  const Speculation speculate = options.speculate;
  const int32_t n_layers = model->model->spec.n_layers();
  if (speculate == Speculation::kSelf) {
    if (options.draft_layers == 0) options.draft_layers = std::max(1, n_layers / 4);
    if (options.draft_layers > n_layers)
      return usage_error("--draft-layers {}: this model has {}", options.draft_layers, n_layers);
  } else if (options.draft_layers > 0) {
    return usage_error("--draft-layers is for --speculate self");
  }
  if (speculate != Speculation::kDraft) {
    if (options.draft_model) return usage_error("--draft-model is for --speculate draft");
    return {};
  }
  if (!options.draft_model) return usage_error("--speculate draft: --draft-model says which");
  const ModelSpec& spec = options.draft_model->spec;
  if (spec.vocab_size != model->model->spec.vocab_size) {
    return usage_error("--draft-model: it has {} tokens, the model {}: their vocabularies differ",
                       spec.vocab_size,
                       model->model->spec.vocab_size);
  }
  if (spec.context_length < options.context) {
    return usage_error("--draft-model: it was trained for {} tokens: give a --ctx of at most that",
                       spec.context_length);
  }
  return {};
}

ModelDrafterOptions Engine::Impl::drafter_options(int32_t n_blocks) const {
  return {.n_layers = options.draft_layers,
          .max_sequences = std::min(options.max_sequences, kMostDrafted),
          .context = options.context,
          .kv_type = options.kv_type,
          .attention = options.attention,
          .n_blocks = n_blocks,
          .shares = options.speculate == Speculation::kSelf};
}

// Of keys and values, those of a draft model included: they lie in the same blocks.
int64_t Engine::Impl::block_bytes() const {
  int64_t bytes = KVStore::bytes_needed(model->model->kv_shapes(options.kv_type), 1);
  if (options.draft_model)
    bytes += KVStore::bytes_needed(options.draft_model->kv_shapes(options.kv_type), 1);
  return bytes;
}

// Most that it takes, keys and values of its own included.
int64_t Engine::Impl::bytes_of_drafter(int32_t n_blocks) const {
  const int32_t n_threads = options.n_threads > 0 ? options.n_threads : cpu_budget().threads;
  switch (options.speculate) {
    case Speculation::kOff:
    case Speculation::kLookup:
      return 0;
    case Speculation::kSuffix:
      return SuffixDrafter::bytes_at_most(options.max_sequences, options.context);
    case Speculation::kDraft:
      return ModelDrafter::bytes_needed(*options.draft_model, n_threads, drafter_options(n_blocks));
    case Speculation::kSelf:
      return ModelDrafter::bytes_needed(*model->model, n_threads, drafter_options(n_blocks));
  }
  return 0;
}

Status Engine::Impl::make_drafter(int32_t n_blocks) {
  switch (options.speculate) {
    case Speculation::kOff:
      return {};
    case Speculation::kLookup:
      drafter = std::make_unique<LookupDrafter>();
      return {};
    case Speculation::kSuffix:
      drafter = std::make_unique<SuffixDrafter>();
      return {};
    case Speculation::kDraft:
    case Speculation::kSelf:
      const Model& guesses = options.draft_model ? *options.draft_model : *model->model;
      FARTHING_TRY(drafter,
                   ModelDrafter::create(
                       guesses, runner->exec(), runner->store(), drafter_options(n_blocks)));
      return {};
  }
  return {};
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Engine::~Engine() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_one();
  impl_->thread.join();
}

Status Engine::Impl::validate(const Request& request) const {
  const int32_t vocab = model->model->spec.vocab_size;
  if (request.prompt.empty()) return usage_error("the prompt is empty: give at least one token");
  if (request.prompt.size() >= static_cast<size_t>(options.context)) {
    return usage_error(
        "the prompt has {} tokens, but the context holds {}: shorten it or raise --ctx",
        request.prompt.size(),
        options.context);
  }
  auto outside = [&](TokenId id) { return id < 0 || id >= vocab; };
  for (TokenId id : request.prompt) {
    if (outside(id)) return usage_error("token id {} is outside the vocabulary of {}", id, vocab);
  }
  for (const auto& [id, bias] : request.sampling.logit_bias) {
    if (outside(id))
      return usage_error("logit_bias: token id {} is outside the vocabulary of {}", id, vocab);
  }
  if (request.n < 1 || request.max_tokens < 0)
    return usage_error("n and max_tokens can't be negative");
  if (request.score_prompt &&
      (!options.score_prompts || request.n != 1 || request.sampling.logprobs < 0))
    return usage_error("a scored prompt needs an engine that may, logprobs, and n = 1");
  return {};
}

Result<RequestId> Engine::submit(Request request, Sink sink) {
  FARTHING_TRY_VOID(impl_->validate(request));
  RequestId id;
  {
    std::lock_guard lock(impl_->mutex);
    id = RequestId{impl_->next_request++};
    const TimePoint now = Clock::now();
    if (impl_->n_open == 0) impl_->work_came = now.time_since_epoch().count();
    ++impl_->n_open;
    impl_->mailbox.push_back(Submit{id, std::move(request), std::move(sink), now});
  }
  impl_->wake.notify_one();
  return id;
}

void Engine::cancel(RequestId id) {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->mailbox.push_back(Cancel{id});
  }
  impl_->wake.notify_one();
}

Progress Engine::progress() const {
  const auto at = [](Clock::rep ticks) { return TimePoint(Clock::duration(ticks)); };
  // In this order: if there is work, the time when it came has been written.
  Progress progress{.working = impl_->n_open > 0};
  progress.work_came = at(impl_->work_came);
  if (const Clock::rep ticks = impl_->last_step; ticks != 0) progress.last_step = at(ticks);
  return progress;
}

EngineMetrics Engine::metrics() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->shown_metrics;
}

int32_t Engine::context() const {
  return impl_->options.context;
}
int32_t Engine::n_threads() const {
  return impl_->runner->n_threads();
}
Isa Engine::isa() const {
  return impl_->runner->isa();
}
int64_t Engine::kv_bytes() const {
  return impl_->runner->kv_bytes();
}
int64_t Engine::workspace_bytes() const {
  return impl_->runner->workspace_bytes();
}
const EngineOptions& Engine::options() const {
  return impl_->options;
}

int64_t Engine::drafter_bytes() const {
  return impl_->drafter_bytes;
}

void Engine::Impl::loop() {
  while (take_mail()) step();
  for (const auto& [id, request] : active) scheduler->end(id, FinishReason::kCancelled);
  publish_ended(Clock::now());
}

bool Engine::Impl::take_mail() {
  std::vector<Command> mail;
  {
    std::unique_lock lock(mutex);
    const auto has_work = [&] { return stopping || !mailbox.empty() || !scheduler->idle(); };
    if (!has_work()) {
      metrics.working = shown_metrics.working = false;
      wake.wait(lock, has_work);
      const TimePoint now = Clock::now();
      metrics.idle_seconds_accounted = metrics.idle_seconds(now);
      metrics.accounted_until = now;
      metrics.working = true;
      shown_metrics = metrics;
    }
    mail.swap(mailbox);
    if (stopping && mail.empty()) return false;
  }
  for (Command& command : mail) {
    if (const auto* cancelled = std::get_if<Cancel>(&command)) {
      scheduler->end(cancelled->id, FinishReason::kCancelled);
      continue;
    }
    auto& submit = std::get<Submit>(command);
    Active& entry = active[submit.id];
    entry.request = std::move(submit.request);
    entry.sink = std::move(submit.sink);
    entry.submitted = submit.at;
    entry.n_open = entry.request.n;
    if (entry.request.min_tokens > 0) entry.banned = tokens_that_end(entry.request);
    entry.usage.prompt_tokens = static_cast<int32_t>(entry.request.prompt.size());
    entry.streams.assign(static_cast<size_t>(entry.request.n),
                         Stream(model->tokenizer, entry.request));
    ++metrics.requests_received;
    metrics.request_n.observe(entry.request.n);
    metrics.request_max_tokens.observe(entry.request.max_tokens);
    scheduler->add(submit.id, entry.request, submit.at);
  }
  return true;
}

void Engine::Impl::step() {
  const TimePoint now = Clock::now();
  plan(now);
  if (!batch.slices.empty()) {
    const Logits logits = runner->forward(batch);
    choose(logits);
    const TimePoint done = Clock::now();
    account(now, done);
    publish_tokens(done);
    scheduler->commit(batch, picked);
    last_step = done.time_since_epoch().count();
  }
  publish_ended(Clock::now());
}

void Engine::Impl::plan(TimePoint now) {
  scheduler->plan(now, batch);
  metrics.kv_blocks_leased_most = std::max(metrics.kv_blocks_leased_most, pool->n_leased());
  for (Slice& slice : batch.slices) {
    Active& entry = active.at(slice.sequence->request);
    if (entry.started == TimePoint{}) {
      entry.started = now;
      metrics.queue_time.observe(seconds_between(entry.submitted, now));
    }
    if (slice.n_logits > 0) slice.n_best = best_needed_by(*slice.sequence, entry.request);
  }
}

// Divides the time since the last step, or since work came, among those that were in this one.
void Engine::Impl::account(TimePoint began, TimePoint done) {
  if (drafter)
    plain_seconds = scheduler->seconds_without_drafts(batch, seconds_between(began, done));
  scheduler->observe(batch, seconds_between(began, done));
  scheduler->shares(batch, shares);
  const double seconds = seconds_between(metrics.accounted_until, done);
  metrics.accounted_until = done;
  for (size_t i = 0; i < batch.slices.size(); ++i) {
    const Slice& slice = batch.slices[i];
    Active& entry = active.at(slice.sequence->request);
    const int32_t of_prompt = std::clamp(slice.sequence->n_prompt - slice.first, 0, slice.count);
    const double prompt = seconds * shares[i] * of_prompt / slice.count;
    const double completion = seconds * shares[i] - prompt;
    entry.timings.prompt_busy_seconds += prompt;
    entry.timings.completion_busy_seconds += completion;
    entry.timeline.n_prefill_steps += of_prompt > 0 ? 1 : 0;
    ++entry.timeline.cuts[static_cast<size_t>(slice.cut)];
    entry.n_computed += slice.count;
    if (drafter) count_draft(slice, entry, seconds_between(began, done));
    metrics.prompt_busy_seconds += prompt;
    metrics.completion_busy_seconds += completion;
  }
  const Work done_work = model_work.of(batch);
  metrics.work += done_work;
  metrics.recent.add(done_work, done);
  metrics.step_time.observe(seconds_between(began, done));
  metrics.step_tokens.observe(batch.n_tokens());
}

// Of a step that gives a sample tokens after its first.
void Engine::Impl::count_draft(const Slice& slice, Active& entry, double seconds) {
  if (slice.n_logits == 0 || slice.sequence->n_generated() == 0) return;
  DraftTimings draft{.drafted_tokens = slice.n_draft, .steps = 1, .seconds = seconds};
  for (int32_t i = 0; i < slice.n_draft; ++i) draft.drafted_at[static_cast<size_t>(i)] = 1;
  entry.timings.drafts += draft;
  metrics.drafts += draft;
}

// And of a token that came out of it; `right`: it is the guess that stood there.
void Engine::Impl::count_token(const Sequence& sequence, int32_t n_draft, bool right) {
  if (sequence.n_generated() == 0) return;
  DraftTimings draft{.tokens = 1, .plain_seconds = plain_seconds};
  if (right) {
    draft.accepted_tokens = 1;
    draft.accepted_at[static_cast<size_t>(n_draft)] = 1;
  }
  active.at(sequence.request).timings.drafts += draft;
  metrics.drafts += draft;
}

void Engine::Impl::show_metrics() {
  metrics.scheduler = scheduler->counts();
  metrics.backlog = scheduler->backlog();
  const auto begun = [](const auto& entry) { return entry.second.started != TimePoint{}; };
  metrics.requests_running = static_cast<int32_t>(std::ranges::count_if(active, begun));
  metrics.requests_waiting = static_cast<int32_t>(active.size()) - metrics.requests_running;
  metrics.sequences_running = scheduler->n_running();
  metrics.sequences_waiting = scheduler->n_waiting();
  metrics.kv_blocks_leased = pool->n_leased();
  metrics.kv_blocks_idle = pool->n_idle();
  metrics.kv_blocks_free = pool->n_free();
  const std::lock_guard lock(mutex);
  shown_metrics = metrics;
}

bool Engine::Impl::is_stop(const Request& request, TokenId token) const {
  if (!request.ignore_eos && model->tokenizer.is_end_of_generation(token)) return true;
  return std::ranges::find(request.stop_tokens, token) != request.stop_tokens.end();
}

// Those for which is_stop() holds.
std::vector<TokenId> Engine::Impl::tokens_that_end(const Request& request) const {
  std::vector<TokenId> tokens = request.stop_tokens;
  if (!request.ignore_eos)
    tokens.insert(tokens.end(), model->end_tokens.begin(), model->end_tokens.end());
  return tokens;
}

// See Slice::n_best.
int32_t Engine::Impl::best_needed_by(const Sequence& sequence, const Request& request) const {
  if (request.score_prompt || sequence.n_generated() < request.min_tokens) return 0;
  return best_needed(request.sampling);
}

// Chooses a token for every row of logits, all in parallel; rows behind a wrong guess for nobody.
void Engine::Impl::choose(const Logits& logits) {
  rows.clear();
  for (const Slice& slice : batch.slices) {
    const int32_t first = slice.first + slice.count - slice.n_logits + 1 - slice.sequence->size();
    for (int32_t i = 0; i < slice.n_logits; ++i) rows.push_back({slice.sequence, first + i});
  }
  runner->team().parallel_for(
      static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const auto [sequence, n_draft] = rows[static_cast<size_t>(i)];
          const Sequence& s = *sequence;
          const Active& entry = active.at(s.request);
          const auto size = static_cast<size_t>(s.size() + n_draft);
          if (n_draft < 0) {
            sampled[static_cast<size_t>(i)] =
                score_token(logits.all_of(i), s.tokens[size], entry.request.sampling.logprobs);
            continue;
          }
          const auto tokens = std::span<const TokenId>(s.tokens).first(size);
          std::span<const TokenId> banned;
          if (s.n_generated() + n_draft < entry.request.min_tokens) banned = entry.banned;
          sampled[static_cast<size_t>(i)] =
              sample_token({.logits = logits.all_of(i),
                            .best = logits.best_of(i),
                            .prompt = tokens.first(static_cast<size_t>(s.n_prompt)),
                            .output = tokens.subspan(static_cast<size_t>(s.n_prompt)),
                            .banned = banned,
                            .sample = s.sample,
                            .position = static_cast<uint32_t>(size)},
                           entry.request.sampling);
        }
      });
}

// What was chosen is the sequence's own as long as the guesses before it are what was chosen there.
void Engine::Impl::publish_tokens(TimePoint now) {
  picked.clear();
  const Sequence* done = nullptr;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto [sequence, n_draft] = rows[i];
    if (sequence == done) continue;
    if (n_draft < 0) {
      publish_scored(*sequence, sequence->size() + n_draft, std::move(sampled[i]));
      continue;
    }
    const TokenId token = sampled[i].token;
    const bool stop = publish_token(*sequence, n_draft, std::move(sampled[i]), now);
    picked.push_back({sequence->id, token, stop});
    const bool right = n_draft < sequence->n_draft &&
                       token == sequence->tokens[static_cast<size_t>(sequence->size() + n_draft)];
    if (drafter) count_token(*sequence, n_draft, right && !stop);
    if (stop || !right) done = sequence;
  }
}

// Tokens that are computed again after preemption were told before, and generated ones aren't the
// prompt's.
void Engine::Impl::publish_scored(const Sequence& sequence, int32_t index, Sampled&& scored) {
  Active& entry = active.at(sequence.request);
  if (index < entry.n_scored || index >= sequence.n_prompt) return;
  CHECK(index == entry.n_scored);
  ++entry.n_scored;
  entry.sink(TokenEvent{.request = sequence.request,
                        .sample = sequence.sample,
                        .token = scored.token,
                        .of_prompt = true,
                        .logprob = scored.logprob,
                        .top = std::move(scored.top)});
}

bool Engine::Impl::publish_token(const Sequence& sequence,
                                 int32_t n_draft,
                                 Sampled&& chosen,
                                 TimePoint now) {
  Active& entry = active.at(sequence.request);
  Stream& stream = entry.streams[sequence.sample];
  if (entry.usage.completion_tokens++ == 0) {
    entry.first_token = now;
    metrics.time_to_first_token.observe(seconds_between(entry.submitted, now));
  }
  if (stream.n_tokens++ == 0) {
    stream.first_token = now;
  } else {
    const double gap = seconds_between(stream.last_token, now);
    metrics.inter_token_latency.observe(gap);
    entry.timeline.longest_gap_seconds = std::max(entry.timeline.longest_gap_seconds, gap);
  }
  stream.last_token = entry.last_token = now;
  ++metrics.generated_tokens;

  TokenEvent event{.request = sequence.request, .sample = sequence.sample, .token = chosen.token};
  event.logprob = chosen.logprob;
  event.top = std::move(chosen.top);
  const bool may_stop = sequence.n_generated() + n_draft >= entry.request.min_tokens;
  bool stop = may_stop && is_stop(entry.request, chosen.token);
  if (!stop && !may_stop) {
    event.text = stream.decoder.push(chosen.token);
  } else if (!stop) {
    StopMatcher::Step shown = stream.stops.push(stream.decoder.push(chosen.token));
    event.text = std::move(shown.text);
    stream.stopped = shown.stopped;
    stop = shown.stopped;
  }
  entry.sink(std::move(event));
  return stop;
}

// The metrics are shown before a request's end is: who has the answer finds it counted.
void Engine::Impl::publish_ended(TimePoint now) {
  std::vector<std::pair<Sink, RequestEnd>> ends;
  for (const Ended& ended : scheduler->take_ended()) {
    const auto it = active.find(ended.request);
    Active& entry = it->second;
    entry.sink(
        SampleEnd{ended.request, ended.sample, ended.reason, entry.streams[ended.sample].finish()});
    count_ended(ended, entry);
    if (--entry.n_open > 0) continue;
    RequestEnd end = end_of(ended.request, entry, now);
    ends.emplace_back(std::move(entry.sink), std::move(end));
    active.erase(it);
  }
  show_metrics();
  for (auto& [sink, end] : ends) {
    --n_open;
    sink(std::move(end));
  }
}

void Engine::Impl::count_ended(const Ended& ended, Active& entry) {
  const Stream& stream = entry.streams[ended.sample];
  if (stream.n_tokens > 1) {
    metrics.time_per_output_token.observe(seconds_between(stream.first_token, stream.last_token) /
                                          (stream.n_tokens - 1));
  }
  if (ended.sample == 0) {  // the others find what it computed
    entry.usage.cached_tokens = ended.n_cached;
    entry.usage.cache_miss = ended.miss;
  }
  Timeline& timeline = entry.timeline;
  const auto total = [](const WaitSeconds& waited) {
    return std::accumulate(waited.begin(), waited.end(), 0.0);
  };
  if (total(ended.waited) > total(timeline.waited)) timeline.waited = ended.waited;
  timeline.n_preempted += ended.n_preempted;
  timeline.finish = ended.reason;
}

RequestEnd Engine::Impl::end_of(RequestId id, Active& entry, TimePoint now) {
  const auto span = [](TimePoint from, TimePoint to) {
    return from == TimePoint{} || to == TimePoint{} ? 0.0 : seconds_between(from, to);
  };
  Timings& timings = entry.timings;
  timings.queue_seconds =
      seconds_between(entry.submitted, entry.started == TimePoint{} ? now : entry.started);
  timings.prefill_seconds = span(entry.started, entry.first_token);
  timings.decode_seconds = span(entry.first_token, entry.last_token);
  timings.total_seconds = seconds_between(entry.submitted, now);
  metrics.request_latency.observe(timings.total_seconds);
  metrics.request_prompt_tokens.observe(entry.usage.prompt_tokens);
  metrics.request_completion_tokens.observe(entry.usage.completion_tokens);
  metrics.request_longest_sample.observe(
      std::ranges::max_element(entry.streams, {}, &Stream::n_tokens)->n_tokens);
  if (entry.usage.completion_tokens > 0) {
    metrics.prefill_time.observe(timings.prefill_seconds);
    metrics.decode_time.observe(timings.decode_seconds);
    metrics.inference_time.observe(timings.prefill_seconds + timings.decode_seconds);
  }
  const auto reason = static_cast<size_t>(entry.timeline.finish);
  ++metrics.requests_finished[reason];
  if (entry.timeline.finish == FinishReason::kCancelled ||
      entry.timeline.finish == FinishReason::kDeadline) {
    metrics.wasted_tokens[reason] += entry.n_computed;
    metrics.wasted_busy_seconds[reason] +=
        timings.prompt_busy_seconds + timings.completion_busy_seconds;
  }
  return {.request = id, .usage = entry.usage, .timings = timings, .timeline = entry.timeline};
}

}  // namespace farthing
