#include "sched/scheduler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>
#include <utility>

#include "base/check.h"

namespace farthing {
namespace {

// Prompts go on at least so fast, whatever the target for running sequences; and so fast beyond
// kHastyTokens, where a token may cost as much as all running sequences' together (its attention
// to thousands of positions).
constexpr int32_t kLeastPrefill = 16, kLeastOfLong = 2;
// Prompts may always double a step: a target that running sequences miss on their own must not
// starve them. Tokens of a prompt for which steps may take as long as the target says, if it is not
// longer than kLongPrompt: one of thousands of tokens would hold everybody up for as long as it
// takes.
constexpr int32_t kHastyTokens = 256, kLongPrompt = 1024;
constexpr double kMostStretch = 2;
// A step with more tokens than kHurried takes no longer than this: nobody can be cancelled during
// one. (Fewer tokens would share too little of what every step costs.) Nor does it go on beyond the
// next deadline, unless that is very near.
constexpr double kMostStepSeconds = 0.25, kLeastStepSeconds = 0.05;
constexpr int32_t kHurried = 128;
// The latest answer's part of the mean.
constexpr double kAnswerWeight = 0.1;
// Of a step's prompt tokens, the part that is the oldest prompt's whatever else there is.
constexpr int32_t kOldestPart = 4;
// Every so many admissions one goes to who has waited longest, whatever the policy.
constexpr int64_t kTurns = 4;
// So many of those that have waited longest are looked up in the prefix tree when a policy asks.
constexpr size_t kMostLookedUp = 64;
// So many are considered in one step, and so many passed over before the rest wait their turn: a
// queue of thousands must not make a step longer.
constexpr size_t kMostConsidered = 256;
constexpr int kMostPassedOver = 32;

// Until what a token costs is known.
constexpr int64_t kStepsBeforeDrafts = 8;

bool has_prompt(const Batch& batch) {
  return std::ranges::any_of(
      batch.slices, [](const Slice& s) { return s.n_logits < s.count || s.count > 1 + s.n_draft; });
}

int32_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  return static_cast<int32_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, KVPool& pool)
    : options_(options), pool_(pool), tree_(pool, options.cache_key), planner_(options.drafts) {
  CHECK(options.max_sequences >= 1 && options.max_step_tokens >= options.max_sequences);
  CHECK(pool.n_blocks() == pool.n_free());
}

void Scheduler::add(RequestId id, const Request& request, TimePoint now) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  CHECK(prompt > 0 && prompt <= options_.context);
  CHECK(!request.score_prompt || options_.most_scored > 0);
  welcome(request.caller);
  for (int32_t sample = 0; sample < request.n; ++sample) {
    auto entry = std::make_unique<Entry>();
    Sequence& s = entry->sequence;
    s.id = SequenceId{next_id_++};
    s.request = id;
    s.sample = static_cast<uint32_t>(sample);
    s.tokens = request.prompt;
    s.n_prompt = static_cast<int32_t>(prompt);
    entry->score_prompt = request.score_prompt;
    s.miss = uses_prefixes(*entry) ? CacheMiss::kNoEntry : CacheMiss::kOff;
    entry->max_size =
        static_cast<int32_t>(std::min<int64_t>(prompt + request.max_tokens, options_.context));
    entry->salt = request.salt;
    entry->caller = request.caller;
    entry->priority = request.priority;
    entry->deadline = request.deadline;
    entry->arrived = entry->waits_since = now;
    entry->waits_for = WaitReason::kStep;
    entry->control = planner_.control();
    s.tokens.reserve(static_cast<size_t>(entry->max_size));
    CHECK(blocks_for(entry->max_size) <= pool_.n_blocks());
    waiting_.push_back(std::move(entry));
  }
}

// A caller who comes back has no credit from the time when it asked for nothing (Sheng et al.,
// Fairness in Serving Large Language Models, OSDI 2024: the lift of the virtual token counter).
void Scheduler::welcome(uint64_t caller) {
  std::optional<double> least;  // of those who have something here
  for (const Entries* entries : {&running_, &waiting_}) {
    for (const auto& entry : *entries) {
      if (entry->caller == caller) return;
      const double served = served_[entry->caller];
      least = std::min(least.value_or(served), served);
    }
  }
  double& served = served_[caller];
  served = std::max(served, least.value_or(served));
}

template <class Predicate>
void Scheduler::end_if(Predicate&& predicate, FinishReason reason) {
  auto sweep = [&](Entries& entries) {
    std::erase_if(entries, [&](const std::unique_ptr<Entry>& entry) {
      if (!predicate(*entry)) return false;
      const Sequence& s = entry->sequence;
      if (planner_.drafts()) {
        const bool complete = reason == FinishReason::kStop || reason == FinishReason::kLength;
        if (complete && s.n_generated() > 0) planner_.drafter().learn(s, entry->salt);
        planner_.drafter().forget(s.id);
      }
      ended_.push_back({s.id,
                        s.request,
                        s.sample,
                        reason,
                        s.n_cached,
                        s.miss,
                        entry->waited,
                        entry->n_preempted});
      return true;
    });
  };
  sweep(running_);
  sweep(waiting_);
}

void Scheduler::end(RequestId id, FinishReason reason) {
  end_if([&](const Entry& e) { return e.sequence.request == id; }, reason);
}

void Scheduler::end_sequence(SequenceId id, FinishReason reason) {
  end_if([&](const Entry& e) { return e.sequence.id == id; }, reason);
}

Batch Scheduler::plan(TimePoint now) {
  Batch batch;
  plan(now, batch);
  return batch;
}

void Scheduler::plan(TimePoint now, Batch& batch) {
  batch.slices.clear();
  batch.copies.clear();
  for (const auto& entry : waiting_) {
    const double since = seconds_between(entry->waits_since, now);
    entry->waited[static_cast<size_t>(entry->waits_for)] += since;
    entry->waits_since = now;
  }
  end_if([&](const Entry& e) { return e.deadline && *e.deadline <= now; }, FinishReason::kDeadline);
  for (size_t i = 0; i < running_.size(); ++i) {
    if (!grow(*running_[i], now)) break;
  }
  draft();
  Budget left = budget(now);
  admit(batch, now, left);
  planned_.clear();
  for (const auto& entry : running_) {
    if (!entry->decodes()) continue;
    planned_.push_back(entry.get());
    const Sequence& s = entry->sequence;
    batch.slices.push_back({.sequence = &s,
                            .first = s.n_stored,
                            .count = 1 + s.n_draft,
                            .n_logits = entry->prompt_only() ? 0 : 1 + s.n_draft,
                            .n_draft = s.n_draft});
  }
  int32_t scored_left = options_.most_scored;
  for (auto [entry, count] : allot(left, nullptr)) {
    if (entry->score_prompt) {
      // Behind the last token nothing is known: where none is chosen either, it comes on its own.
      const int32_t most = entry->n_left() - (entry->prompt_only() ? 1 : 0);
      scored_left -= count = std::min({count, scored_left, most});
    }
    if (count == 0) continue;
    planned_.push_back(entry);
    const Sequence& s = entry->sequence;
    const bool picks = count == entry->n_left() && !entry->prompt_only();
    const int32_t n_logits = entry->score_prompt ? count : picks ? 1 : 0;
    batch.slices.push_back({&s, s.n_stored, count, n_logits});
  }
  count_cuts(batch, left.limit);
}

void Scheduler::count_cuts(Batch& batch, SliceCut limit) {
  const auto is_prompt = [](const Entry* entry) { return !entry->decodes(); };
  const bool alone = std::ranges::count_if(planned_, is_prompt) == 1;
  for (size_t i = 0; i < planned_.size(); ++i) {
    Slice& slice = batch.slices[i];
    if (slice.count >= planned_[i]->n_left()) continue;
    slice.cut = limit == SliceCut::kChunk && !alone ? SliceCut::kBudget : limit;
    ++counts_.cuts[static_cast<size_t>(slice.cut)];
  }
}

// Guesses at what running sequences go on with, for as long as they pay. Prompts don't count: they
// take what these leave.
void Scheduler::draft() {
  drafter_seconds_ = 0;
  if (!planner_.drafts() || !options_.kv_cache) return;
  const StepModel& model =
      model_of(std::ranges::any_of(running_, [](const auto& entry) { return !entry->decodes(); }));
  if (options_.drafts.draft_tokens == 0 && model.n_observed() < kStepsBeforeDrafts) return;
  PlainStep plain;
  drafts_.clear();
  for (const auto& entry : running_) {
    if (!entry->decodes()) continue;
    plain.work += StepWork::of(entry->sequence.n_stored, 1);
    ++plain.n_sequences;
    // The token after the draft is the step's own: a draft ends one before the last.
    const int32_t left = entry->max_size - entry->sequence.size();
    if (left <= 1) continue;
    entry->draft = {.sequence = &entry->sequence,
                    .salt = entry->salt,
                    .control = &entry->control,
                    .most = std::min({kMostDraft, left - 1, room_for_draft(*entry)}),
                    .left = left};
    if (entry->draft.most > 0) drafts_.push_back(&entry->draft);
  }
  if (drafts_.empty()) return;
  const int32_t room = options_.max_step_tokens - plain.n_sequences;
  drafter_seconds_ = planner_.plan(plain, model, drafts_, room);
}

const StepModel& Scheduler::model_of(bool has_prompt) const {
  return has_prompt ? step_model_ : decode_model_;
}

// How many tokens behind the sequence's have a place: in its blocks, or in one more if there is
// plenty. A draft is never worth a block that somebody else has stored something in.
int32_t Scheduler::room_for_draft(Entry& entry) {
  Sequence& s = entry.sequence;
  const auto room = [&] {
    return static_cast<int32_t>(s.blocks.size()) * kKVBlockTokens - s.size();
  };
  const bool can_use_more = blocks_for(entry.max_size) > static_cast<int32_t>(s.blocks.size());
  if (room() < kMostDraft && can_use_more && pool_.n_free() > n_running()) {
    std::optional<Lease> more = pool_.lease(1);
    CHECK(more);
    entry.lease.append(*std::move(more));
    s.blocks = entry.lease.blocks();
  }
  return room();
}

double Scheduler::until_deadline(TimePoint now) const {
  double seconds = std::numeric_limits<double>::infinity();
  for (const Entries* entries : {&running_, &waiting_}) {
    for (const auto& entry : *entries) {
      if (entry->deadline) seconds = std::min(seconds, seconds_between(now, *entry->deadline));
    }
  }
  return seconds;
}

// Prompt tokens of the next step.
Scheduler::Budget Scheduler::budget(TimePoint now) const {
  const int32_t most = options_.max_step_tokens;
  StepWork decodes;
  int32_t first = 0;  // where the first prompt goes on
  bool has_prompt = false;
  for (const auto& entry : running_) {
    const Sequence& s = entry->sequence;
    if (entry->decodes()) {
      decodes += StepWork::of(s.n_stored, 1 + s.n_draft);
    } else if (!std::exchange(has_prompt, true)) {
      first = s.n_stored;
    }
  }
  const int32_t room = most - static_cast<int32_t>(decodes.n_tokens);
  const auto within = [&](double seconds, int32_t least) {
    const int32_t n = step_model_.tokens_beside(decodes, first, seconds, room);
    return std::max(n, std::min(least, room));
  };
  Budget budget{room, room};
  if (options_.itl_target > 0 && decodes.n_tokens > 0) {
    const double doubled = kMostStretch * step_model_.seconds(decodes);
    budget = {within(std::max(options_.itl_target - drafter_seconds_, doubled), kLeastPrefill),
              within(doubled, kLeastOfLong)};
    if (budget.of_long_prompts < room) budget.limit = SliceCut::kItl;
  }
  if (most >= options_.context) return budget;  // whole prompts were asked for
  const int32_t in_time =
      std::min(within(kMostStepSeconds, kHurried),
               within(std::max(kLeastStepSeconds, until_deadline(now)), kLeastPrefill));
  if (in_time < budget.tokens) {
    budget = {in_time, std::min(in_time, budget.of_long_prompts), SliceCut::kTime};
  }
  return budget;
}

// How many tokens of each running prompt come into the step, and of `candidate`'s, who would be one
// more. The oldest has its part; then those with least left go first, so that a short prompt does
// not wait for a long one.
std::vector<Scheduler::Allotted> Scheduler::allot(Budget left, Entry* candidate) const {
  std::vector<Allotted> prompts;
  for (const auto& entry : running_) {
    if (!entry->decodes()) prompts.push_back({entry.get(), 0});
  }
  if (candidate) prompts.push_back({candidate, 0});
  if (prompts.empty()) return prompts;
  const auto take = [&](Allotted& prompt, int32_t most) {
    const Entry& entry = *prompt.entry;
    const int32_t computed = entry.sequence.n_stored - entry.n_found + prompt.count;
    const bool is_long = computed + entry.n_left() > kLongPrompt;
    const int32_t hasty = is_long ? 0 : std::max(0, kHastyTokens - computed);
    const int32_t count = std::max(0,
                                   std::min({entry.n_left() - prompt.count,
                                             most,
                                             left.tokens,
                                             std::max(hasty, left.of_long_prompts)}));
    prompt.count += count;
    left.tokens -= count;
    left.of_long_prompts -= count;
  };
  take(prompts.front(), std::max(1, left.tokens / kOldestPart));
  std::vector<Allotted*> by_left;
  for (Allotted& prompt : prompts) by_left.push_back(&prompt);
  std::ranges::stable_sort(by_left, {}, [](const Allotted* p) { return p->entry->n_left(); });
  for (Allotted* prompt : by_left) take(*prompt, left.tokens);
  return prompts;
}

std::optional<Lease> Scheduler::take_blocks(int32_t n) {
  if (!tree_.make_free(n)) return std::nullopt;
  return pool_.lease(n);
}

// Blocks for all of its tokens; false if it was preempted instead.
bool Scheduler::grow(Entry& entry, TimePoint now) {
  Sequence& s = entry.sequence;
  const int32_t n = blocks_for(s.size()) - static_cast<int32_t>(s.blocks.size());
  if (n <= 0) return true;
  std::optional<Lease> more;
  while (!(more = take_blocks(n))) {
    const bool itself = running_.back().get() == &entry;
    CHECK(!itself || running_.size() > 1);
    preempt_last(now);
    if (itself) return false;
  }
  entry.lease.append(*std::move(more));
  s.blocks = entry.lease.blocks();
  return true;
}

void Scheduler::preempt_last(TimePoint now) {
  std::unique_ptr<Entry> entry = std::move(running_.back());
  running_.pop_back();
  Sequence& s = entry->sequence;
  entry->n_known = std::max(entry->n_known, s.n_stored);
  ++entry->n_preempted;
  entry->waits_for = WaitReason::kBlocks;
  entry->waits_since = now;
  ++counts_.preemptions;
  if (planner_.drafts()) planner_.drafter().forget(s.id);
  entry->source = Lease();
  entry->lease = Lease();
  entry->path = {};
  s.blocks.clear();
  s.n_stored = 0;
  waiting_.insert(waiting_.begin(), std::move(entry));
}

// The first kMostConsidered: preempted ones; then by the policy, except that every kTurns-th goes
// by waiting time.
std::vector<Scheduler::Entry*> Scheduler::order_of_admission(TimePoint now) {
  const PolicyRow& policy = policy_row(options_.policy);
  std::vector<Entry*> order, by_arrival;
  std::vector<std::pair<double, Entry*>> by_policy;
  for (const auto& entry : waiting_) {
    entry->waits_for = WaitReason::kTurn;
    if (entry->n_preempted > 0) {
      order.push_back(entry.get());
      continue;
    }
    const Sequence& s = entry->sequence;
    Waiting waiting{.waited = seconds_between(entry->arrived, now),
                    .priority = entry->priority,
                    .n_left = s.size(),
                    .served = served_[entry->caller]};
    if (policy.needs_prefix && caches_prefixes() && by_arrival.size() < kMostLookedUp)
      waiting.n_stored = tree_.n_stored(entry->salt, s.tokens);
    if (entry->deadline) waiting.until_deadline = seconds_between(now, *entry->deadline);
    by_arrival.push_back(entry.get());
    by_policy.emplace_back(policy.score(waiting), entry.get());
  }
  std::ranges::stable_sort(by_policy, {}, &std::pair<double, Entry*>::first);
  std::unordered_set<const Entry*> taken;
  auto arrived = by_arrival.begin();
  auto ranked = by_policy.begin();
  int64_t turn = n_admitted_ + static_cast<int64_t>(order.size());
  while (taken.size() < std::min(by_arrival.size(), kMostConsidered)) {
    while (arrived != by_arrival.end() && taken.contains(*arrived)) ++arrived;
    while (ranked != by_policy.end() && taken.contains(ranked->second)) ++ranked;
    order.push_back(is_turn_of_the_longest(turn++) ? *arrived : ranked->second);
    taken.insert(order.back());
  }
  return order;
}

bool Scheduler::is_turn_of_the_longest(int64_t n_admitted) const {
  return n_admitted % kTurns == kTurns - 1;
}

void Scheduler::admit(Batch& batch, TimePoint now, Budget& left) {
  if (waiting_.empty()) return;
  const auto all_wait_for = [&](WaitReason reason) {
    for (const auto& entry : waiting_) entry->waits_for = reason;
    counts_.waits[static_cast<size_t>(reason)] += n_waiting();
  };
  const int32_t slots = options_.batching == Batching::kOff ? 1 : options_.max_sequences;
  const bool continuous = options_.batching == Batching::kContinuous;
  if (!continuous && !running_.empty()) return all_wait_for(WaitReason::kBatch);
  const WaitReason no_tokens =
      left.limit == SliceCut::kItl ? WaitReason::kItl : WaitReason::kBudget;
  bool again = true;
  while (again && !waiting_.empty()) {
    if (n_running() >= slots) return all_wait_for(WaitReason::kSlots);
    if (continuous && left.tokens <= 0 && !running_.empty()) return all_wait_for(no_tokens);
    again = false;
    int passed_over = 0;
    WaitReason rest = WaitReason::kNone;  // why nobody further is admitted
    const std::vector<Entry*> order = order_of_admission(now);
    counts_.waits[static_cast<size_t>(WaitReason::kTurn)] +=
        n_waiting() - static_cast<int64_t>(order.size());
    for (Entry* entry : order) {
      if (rest == WaitReason::kNone && n_running() >= slots) rest = WaitReason::kSlots;
      WaitReason reason = rest;
      // Who has waited longest needs no room in this very step.
      const bool any_way = is_turn_of_the_longest(n_admitted_) || entry->n_preempted > 0;
      if (reason == WaitReason::kNone && continuous && !running_.empty() &&
          (left.tokens <= 0 || (!any_way && allot(left, entry).back().count == 0))) {
        reason = no_tokens;
      }
      if (reason == WaitReason::kNone) reason = try_admit(batch, *entry);
      entry->waits_for = reason;
      if (reason != WaitReason::kNone) {
        ++counts_.waits[static_cast<size_t>(reason)];
        const bool enough = reason == WaitReason::kBlocks || ++passed_over > kMostPassedOver;
        if (enough && rest == WaitReason::kNone) rest = WaitReason::kTurn;
        continue;
      }
      const auto it =
          std::ranges::find_if(waiting_, [&](const auto& e) { return e.get() == entry; });
      running_.push_back(std::move(*it));
      waiting_.erase(it);
      ++n_admitted_;
      served_[entry->caller] += entry->n_left();
      if (entry->decodes()) left.tokens -= 1;
      // Whoever is served by what its caller had needs a new order.
      if (policy_row(options_.policy).by_caller) {
        again = true;
        break;
      }
    }
  }
}

// A running sequence is computing more of what this one begins with than is stored.
bool Scheduler::prefix_is_coming(const Entry& entry, int32_t n_matched) const {
  const Sequence& s = entry.sequence;
  const auto useful = std::span(s.tokens).first(s.tokens.size() - 1);
  return std::ranges::any_of(running_, [&](const auto& other) {
    const Sequence& o = other->sequence;
    if (other->decodes() || !(other->salt == entry.salt)) return false;
    int32_t common = common_prefix(useful, o.tokens);
    if (o.request != s.request) common = common / kKVBlockTokens * kKVBlockTokens;
    return common > n_matched && o.n_stored < common;
  });
}

WaitReason Scheduler::try_admit(Batch& batch, Entry& entry) {
  Sequence& s = entry.sequence;
  PrefixTree::Match match{.miss = CacheMiss::kOff};
  if (uses_prefixes(entry)) {
    match = tree_.match(entry.salt, std::span(s.tokens).first(s.tokens.size() - 1));
    if (options_.batching == Batching::kContinuous && prefix_is_coming(entry, match.n_tokens()))
      return WaitReason::kPrefix;
  }
  const int32_t wanted = blocks_for(options_.paged ? s.size() : entry.max_size) -
                         static_cast<int32_t>(match.blocks.blocks().size());
  const int32_t reserve = options_.paged ? n_running() : 0;  // each may need one more soon
  if (wanted + reserve > free_after_eviction()) {
    match.source = Lease();  // which may have been one of those that could be evicted
    match.n_copied = 0;
  }
  if (wanted + reserve > free_after_eviction() && (n_running() > 0)) return WaitReason::kBlocks;
  std::optional<Lease> own = take_blocks(wanted);
  CHECK(own);
  if (match.n_copied > 0) batch.copies.push_back({match.source.blocks()[0], own->blocks()[0]});
  entry.source = std::move(match.source);
  entry.lease = std::move(match.blocks);
  entry.lease.append(*std::move(own));
  entry.path = match.path;
  s.blocks = entry.lease.blocks();
  s.n_stored = entry.n_found = match.path.n_tokens + match.n_copied;
  if (entry.n_preempted == 0) {
    s.n_cached = s.n_stored;
    s.miss = match.miss;
    counts_.prompt_tokens_cached += s.n_cached;
    if (uses_prefixes(entry)) counts_.prompt_tokens_looked_up += s.n_prompt;
    ++counts_.misses[static_cast<size_t>(s.miss)];
  }
  return WaitReason::kNone;
}

void Scheduler::commit(const Batch& batch, std::span<const Picked> picked) {
  CHECK(batch.slices.size() == planned_.size());
  std::vector<std::pair<SequenceId, FinishReason>> ends;
  auto pick = picked.begin();  // they come in the order of the slices
  for (size_t i = 0; i < planned_.size(); ++i) {
    const Slice& slice = batch.slices[i];
    Entry& entry = *planned_[i];
    Sequence& s = entry.sequence;
    CHECK(slice.sequence == &s && slice.first == s.n_stored);
    const auto first = pick;
    while (pick != picked.end() && pick->sequence == s.id) ++pick;
    const std::span<const Picked> own(first, pick);
    const int32_t n_right = end_draft(entry, slice, own);
    const int32_t again = std::clamp(entry.n_known - slice.first, 0, slice.count);
    counts_.tokens_computed_again += again;
    counts_.prompt_tokens_computed +=
        std::clamp(s.n_prompt - slice.first - again, 0, slice.count - again);
    for (const Picked& p : own) s.tokens.push_back(p.token);
    served_[entry.caller] += static_cast<double>(own.size());
    s.n_stored += n_right;
    entry.source = Lease();
    if (caches_prefixes() && tree_.store(entry.salt, entry.path, s.tokens, s.n_stored, entry.lease))
      s.blocks = entry.lease.blocks();
    if (entry.prompt_only() && s.n_stored == s.n_prompt)
      ends.emplace_back(s.id, FinishReason::kLength);
    if (own.empty()) continue;
    if (!options_.kv_cache) s.n_stored = 0;
    const bool stops = own.back().stop;
    if (!stops && s.size() < entry.max_size) continue;
    ends.emplace_back(s.id, stops ? FinishReason::kStop : FinishReason::kLength);
    const double n = s.n_generated();
    mean_answer_ = std::isinf(mean_answer_) ? n : mean_answer_ + kAnswerWeight * (n - mean_answer_);
  }
  CHECK(pick == picked.end());
  planned_.clear();
  for (const auto& [id, reason] : ends) end_sequence(id, reason);
}

// Takes the draft off the sequence. How many of the slice's tokens are its own, the right ones of
// the draft included: K and V of these are stored.
int32_t Scheduler::end_draft(Entry& entry, const Slice& slice, std::span<const Picked> picked) {
  Sequence& s = entry.sequence;
  s.tokens.resize(static_cast<size_t>(s.size()));
  s.n_draft = 0;
  if (slice.n_draft == 0) {
    const bool picks = slice.first + slice.count == s.size() && !entry.prompt_only();
    CHECK(picked.size() == (picks ? 1u : 0u));
    return slice.count;
  }
  const auto n_accepted = static_cast<int32_t>(picked.size()) - 1;
  CHECK(n_accepted >= 0 && n_accepted <= slice.n_draft);
  ++counts_.drafts;
  counts_.drafted_tokens += slice.n_draft;
  counts_.accepted_tokens += n_accepted;
  const auto classes = std::span(entry.draft.classes).first(static_cast<size_t>(slice.n_draft));
  entry.control.observe(classes, n_accepted);
  planner_.observe(classes, n_accepted);
  return slice.count - slice.n_draft + n_accepted;
}

void Scheduler::observe(const Batch& batch, double seconds) {
  StepWork work;
  for (const Slice& slice : batch.slices) work += StepWork::of(slice.first, slice.count);
  counts_.drafter_seconds += drafter_seconds_;
  seconds = std::max(seconds - drafter_seconds_, 0.0);
  step_model_.observe(work, seconds);
  if (!has_prompt(batch)) decode_model_.observe(work, seconds);
}

double Scheduler::seconds_without_drafts(const Batch& batch, double seconds) const {
  StepWork work, without;
  for (const Slice& slice : batch.slices) {
    work += StepWork::of(slice.first, slice.count);
    without += StepWork::of(slice.first, slice.count - slice.n_draft);
  }
  const StepModel& model = model_of(has_prompt(batch));
  const double part = model.seconds(without) / model.seconds(work);
  return std::max(seconds - drafter_seconds_, 0.0) * (part > 0 && part <= 1 ? part : 1);
}

void Scheduler::shares(const Batch& batch, std::vector<double>& out) const {
  out.clear();
  double sum = 0;
  for (const Slice& slice : batch.slices) {
    out.push_back(step_model_.part(StepWork::of(slice.first, slice.count),
                                   static_cast<int32_t>(batch.slices.size())));
    sum += out.back();
  }
  for (double& part : out) part /= sum;
}

std::vector<Ended> Scheduler::take_ended() {
  return std::exchange(ended_, {});
}

SchedulerCounts Scheduler::counts() const {
  SchedulerCounts counts = counts_;
  counts.evicted_blocks = tree_.n_evicted();
  return counts;
}

Backlog Scheduler::backlog() const {
  Backlog all;
  const auto looked_up = static_cast<double>(std::max<int64_t>(1, counts_.prompt_tokens_looked_up));
  const double unknown = 1 - static_cast<double>(counts_.prompt_tokens_cached) / looked_up;
  StepWork work, answers;
  const auto add = [&](const Entry& entry, double part) {
    const Sequence& s = entry.sequence;
    const auto prompt = entry.decodes() ? 0 : static_cast<int32_t>(part * entry.n_left());
    const double left = entry.max_size - s.size();
    ++all.n_sequences;
    all.prompt_tokens += prompt;
    all.answer_tokens += static_cast<int64_t>(std::min(left, mean_answer_));
    work += StepWork::of(s.n_stored, prompt);
    answers += StepWork::of(s.size(), 1);
  };
  for (const auto& entry : running_) add(*entry, 1);
  // A request's samples share its prompt.
  for (const auto& entry : waiting_) add(*entry, entry->sequence.sample == 0 ? unknown : 0);
  if (all.n_sequences == 0) return all;
  const int64_t n = all.n_sequences;
  work += {all.answer_tokens,
           answers.n_positions * all.answer_tokens / n,
           answers.n_pairs * all.answer_tokens / n};
  const double n_steps =
      static_cast<double>(all.prompt_tokens) / options_.max_step_tokens +
      static_cast<double>(all.answer_tokens) / std::min(all.n_sequences, options_.max_sequences);
  all.seconds = step_model_.seconds(work) + std::max(0.0, n_steps - 1) * step_model_.seconds({});
  return all;
}

void Scheduler::check_integrity() const {
  std::vector<bool> leased(static_cast<size_t>(pool_.n_blocks()), false);
  const auto see = [&](const Lease& lease) {
    for (BlockId b : lease.blocks()) leased[b.v] = true;
  };
  for (const auto& e : running_) {
    const Sequence& s = e->sequence;
    see(e->lease);
    see(e->source);
    CHECK(s.blocks == e->lease.blocks());
    CHECK(s.n_stored <= s.size() && s.size() <= e->max_size);
    CHECK(static_cast<int32_t>(s.blocks.size()) >= blocks_for(s.n_stored));
  }
  for (const auto& e : waiting_) CHECK(e->lease.blocks().empty() && e->source.blocks().empty());
  CHECK(n_running() <= options_.max_sequences);
  CHECK(std::ranges::count(leased, true) == pool_.n_leased());
  pool_.check_integrity();
  tree_.check_integrity();
}

}  // namespace farthing
