#include "sched/scheduler.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace farthing {
namespace {

// Prompts go on at least so fast, whatever the target for running sequences.
constexpr int32_t kLeastPrefill = 16;
// Tokens of a prompt for which steps may take as long as the target says. Those beyond may only
// double a step: a prompt of thousands of tokens would hold everybody up for as long as it takes.
constexpr int32_t kHastyTokens = 256;
constexpr double kMostStretch = 2;

int32_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  return static_cast<int32_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, KVPool& pool)
    : options_(options), pool_(pool), tree_(pool, options.cache_key) {
  CHECK(options.max_sequences >= 1 && options.max_step_tokens >= options.max_sequences);
  CHECK(pool.n_blocks() == pool.n_free());
}

void Scheduler::add(RequestId id, const Request& request, TimePoint now) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  CHECK(prompt > 0 && prompt <= options_.context);
  for (int32_t sample = 0; sample < request.n; ++sample) {
    auto entry = std::make_unique<Entry>();
    Sequence& s = entry->sequence;
    s.id = SequenceId{next_id_++};
    s.request = id;
    s.sample = static_cast<uint32_t>(sample);
    s.tokens = request.prompt;
    s.n_prompt = static_cast<int32_t>(prompt);
    entry->max_size =
        static_cast<int32_t>(std::min<int64_t>(prompt + request.max_tokens, options_.context));
    entry->salt = request.salt;
    entry->caller = request.caller;
    entry->priority = request.priority;
    entry->deadline = request.deadline;
    entry->arrived = entry->waits_since = now;
    s.tokens.reserve(static_cast<size_t>(entry->max_size));
    CHECK(blocks_for(entry->max_size) <= pool_.n_blocks());
    waiting_.push_back(std::move(entry));
  }
}

template <class Predicate>
void Scheduler::end_if(Predicate&& predicate, FinishReason reason) {
  auto sweep = [&](Entries& entries) {
    std::erase_if(entries, [&](const std::unique_ptr<Entry>& entry) {
      if (!predicate(*entry)) return false;
      const Sequence& s = entry->sequence;
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
  for (const auto& entry : waiting_) {
    const double since = seconds_between(entry->waits_since, now);
    entry->waited[static_cast<size_t>(entry->waits_for)] += since;
    entry->waits_since = now;
  }
  end_if([&](const Entry& e) { return e.deadline && *e.deadline <= now; }, FinishReason::kDeadline);
  for (size_t i = 0; i < running_.size(); ++i) {
    if (!grow(*running_[i], now)) break;
  }
  Batch batch;
  const Budget all = budget();
  admit(batch, now, all);
  Budget left = all;
  for (const bool decodes : {true, false}) {
    for (const auto& entry : running_) {
      if (entry->decodes() != decodes) continue;
      const Sequence& s = entry->sequence;
      const int32_t count = take_from(left, *entry);
      if (count == 0) continue;
      batch.slices.push_back({&s, s.n_stored, count, count == entry->n_left() ? 1 : 0});
    }
  }
  return batch;
}

// Tokens of the next step.
Scheduler::Budget Scheduler::budget() const {
  const int32_t most = options_.max_step_tokens;
  StepWork decodes;
  int32_t first = 0;  // where the first prompt goes on
  bool has_prompt = false;
  for (const auto& entry : running_) {
    const Sequence& s = entry->sequence;
    if (entry->decodes()) {
      decodes += StepWork::of(s.n_stored, 1);
    } else if (!std::exchange(has_prompt, true)) {
      first = s.n_stored;
    }
  }
  if (options_.itl_target <= 0 || decodes.n_tokens == 0) return {most, most};
  const auto n_decodes = static_cast<int32_t>(decodes.n_tokens);
  const auto within = [&](double seconds) {
    return std::clamp(step_model_.tokens_beside(decodes, first, seconds, most - n_decodes),
                      std::min(kLeastPrefill, most - n_decodes),
                      most - n_decodes);
  };
  const double gentle = std::min(options_.itl_target, kMostStretch * step_model_.seconds(decodes));
  return {n_decodes + within(options_.itl_target), within(gentle)};
}

// How many of the entry's tokens come into the step, of which the budget has that many less then.
int32_t Scheduler::take_from(Budget& budget, const Entry& entry) const {
  if (entry.decodes()) {
    budget.tokens -= 1;
    return 1;
  }
  const int32_t computed = entry.sequence.n_stored - entry.n_found;
  const int32_t hasty = std::max(0, kHastyTokens - computed);
  const int32_t count = std::max(
      0, std::min({entry.n_left(), budget.tokens, std::max(hasty, budget.of_long_prompts)}));
  budget.tokens -= count;
  budget.of_long_prompts -= count;
  return count;
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
  entry->source = Lease();
  entry->lease = Lease();
  entry->path = {};
  s.blocks.clear();
  s.n_stored = 0;
  waiting_.insert(waiting_.begin(), std::move(entry));
}

std::vector<Scheduler::Entry*> Scheduler::order_of_admission(TimePoint now) {
  struct Ranked {
    int rank;  // preempted ones, then those out of patience, then the rest
    double score;
    Entry* entry;
  };
  const PolicyRow& policy = policy_row(options_.policy);
  std::vector<Ranked> ranked;
  ranked.reserve(waiting_.size());
  for (const auto& entry : waiting_) {
    const Sequence& s = entry->sequence;
    const double waited = seconds_between(entry->arrived, now);
    if (entry->n_preempted > 0 || waited > options_.patience) {
      ranked.push_back({entry->n_preempted > 0 ? 0 : 1, 0, entry.get()});
      continue;
    }
    Waiting waiting{
        .waited = waited, .priority = entry->priority, .n_left = s.size(), .n_stored = 0};
    if (policy.needs_prefix && caches_prefixes()) {
      waiting.n_stored = tree_.match(entry->salt, s.tokens).n_tokens();
    }
    if (const auto it = served_.find(entry->caller); it != served_.end())
      waiting.served = it->second;
    if (entry->deadline) waiting.until_deadline = seconds_between(now, *entry->deadline);
    ranked.push_back({2, policy.score(waiting), entry.get()});
  }
  std::ranges::stable_sort(ranked, [](const Ranked& a, const Ranked& b) {
    return std::tie(a.rank, a.score) < std::tie(b.rank, b.score);
  });
  std::vector<Entry*> order;
  for (const Ranked& r : ranked) order.push_back(r.entry);
  return order;
}

void Scheduler::admit(Batch& batch, TimePoint now, Budget left) {
  if (waiting_.empty()) return;
  const auto all_wait_for = [&](WaitReason reason) {
    for (const auto& entry : waiting_) entry->waits_for = reason;
    counts_.waits[static_cast<size_t>(reason)] += n_waiting();
  };
  const int32_t slots = options_.batching == Batching::kOff ? 1 : options_.max_sequences;
  if (options_.batching != Batching::kContinuous && !running_.empty())
    return all_wait_for(WaitReason::kBatch);
  if (n_running() >= slots) return all_wait_for(WaitReason::kSlots);
  for (const auto& entry : running_) take_from(left, *entry);

  WaitReason rest = WaitReason::kNone;  // why nobody further is admitted
  for (Entry* entry : order_of_admission(now)) {
    if (rest == WaitReason::kNone) {
      if (n_running() >= slots) rest = WaitReason::kSlots;
      if (left.tokens <= 0 && options_.batching == Batching::kContinuous) rest = WaitReason::kTurn;
    }
    entry->waits_for = rest == WaitReason::kNone ? try_admit(batch, *entry) : rest;
    if (entry->waits_for == WaitReason::kNone) {
      const auto it =
          std::ranges::find_if(waiting_, [&](const auto& e) { return e.get() == entry; });
      running_.push_back(std::move(*it));
      waiting_.erase(it);
      take_from(left, *entry);
      continue;
    }
    ++counts_.waits[static_cast<size_t>(entry->waits_for)];
    if (entry->waits_for == WaitReason::kBlocks) rest = WaitReason::kTurn;
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
  if (caches_prefixes()) {
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
    if (caches_prefixes()) counts_.prompt_tokens_looked_up += s.n_prompt;
  }
  return WaitReason::kNone;
}

Scheduler::Entry& Scheduler::running(SequenceId id) {
  auto it = std::ranges::find_if(running_, [&](const auto& e) { return e->sequence.id == id; });
  CHECK(it != running_.end());
  return **it;
}

void Scheduler::commit(const Batch& batch, std::span<const Picked> picked) {
  for (const Slice& slice : batch.slices) {
    Entry& entry = running(slice.sequence->id);
    Sequence& s = entry.sequence;
    CHECK(slice.first == s.n_stored);
    const int32_t again = std::clamp(entry.n_known - slice.first, 0, slice.count);
    counts_.tokens_computed_again += again;
    if (again == 0) {
      counts_.prompt_tokens_computed += std::clamp(s.n_prompt - slice.first, 0, slice.count);
    }
    served_[entry.caller] += slice.count;
    s.n_stored += slice.count;
    entry.source = Lease();
    if (caches_prefixes() && tree_.store(entry.salt, entry.path, s.tokens, s.n_stored, entry.lease))
      s.blocks = entry.lease.blocks();
  }
  for (const Picked& pick : picked) {
    Entry& entry = running(pick.sequence);
    entry.sequence.tokens.push_back(pick.token);
    if (!options_.kv_cache) entry.sequence.n_stored = 0;
    const bool full = entry.sequence.size() >= entry.max_size;
    if (pick.stop || full) {
      end_sequence(pick.sequence, pick.stop ? FinishReason::kStop : FinishReason::kLength);
    }
  }
}

void Scheduler::observe(const Batch& batch, double seconds) {
  StepWork work;
  for (const Slice& slice : batch.slices) work += StepWork::of(slice.first, slice.count);
  step_model_.observe(work, seconds);
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
