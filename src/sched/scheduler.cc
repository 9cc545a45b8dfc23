#include "sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace farthing {

Scheduler::Scheduler(const SchedulerOptions& options, KVPool& pool)
    : options_(options), pool_(pool) {
  CHECK(options.max_sequences >= 1 && options.max_step_tokens >= options.max_sequences);
}

void Scheduler::add(RequestId id, const Request& request) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  CHECK(prompt > 0 && prompt <= options_.context);
  for (int32_t sample = 0; sample < request.n; ++sample) {
    auto entry = std::make_unique<Entry>();
    entry->sequence.id = SequenceId{next_id_++};
    entry->sequence.request = id;
    entry->sequence.sample = static_cast<uint32_t>(sample);
    entry->sequence.tokens = request.prompt;
    entry->sequence.n_prompt = static_cast<int32_t>(prompt);
    entry->max_size =
        static_cast<int32_t>(std::min<int64_t>(prompt + request.max_tokens, options_.context));
    entry->deadline = request.deadline;
    entry->sequence.tokens.reserve(static_cast<size_t>(entry->max_size));
    CHECK(blocks_for(entry->max_size) <= pool_.n_blocks());
    waiting_.push_back(std::move(entry));
  }
}

void Scheduler::admit() {
  while (!waiting_.empty() && n_running() < options_.max_sequences) {
    Entry& entry = *waiting_.front();
    auto lease = pool_.lease(blocks_for(entry.max_size));
    if (!lease) return;  // first come, first served: nobody overtakes
    entry.lease = std::move(*lease);
    entry.sequence.blocks = entry.lease.blocks();
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

template <class Predicate>
void Scheduler::end_if(Predicate&& predicate, FinishReason reason) {
  auto sweep = [&](auto& entries) {
    auto keep = entries.begin();
    for (auto& entry : entries) {
      if (predicate(*entry)) {
        const Sequence& s = entry->sequence;
        ended_.push_back({s.id, s.request, s.sample, reason});
        entry.reset();
      } else {
        if (&*keep != &entry) *keep = std::move(entry);
        ++keep;
      }
    }
    entries.erase(keep, entries.end());
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
  end_if([&](const Entry& e) { return e.deadline && *e.deadline <= now; }, FinishReason::kDeadline);
  admit();
  Batch batch;
  int32_t budget = options_.max_step_tokens;
  auto take = [&](const Entry& entry) {
    const Sequence& s = entry.sequence;
    const int32_t count = std::min(s.size() - s.n_stored, budget);
    if (count <= 0) return;
    const bool reaches_end = s.n_stored + count == s.size();
    batch.slices.push_back({&s, s.n_stored, count, reaches_end ? 1 : 0});
    budget -= count;
  };
  auto is_decode = [](const Entry& e) { return e.sequence.size() - e.sequence.n_stored == 1; };
  for (const auto& entry : running_) {
    if (is_decode(*entry)) take(*entry);
  }
  for (const auto& entry : running_) {
    if (!is_decode(*entry)) take(*entry);
  }
  return batch;
}

void Scheduler::commit(const Batch& batch, std::span<const Picked> picked) {
  auto entry_of = [&](SequenceId id) -> Entry& {
    auto it = std::ranges::find_if(running_, [&](const auto& e) { return e->sequence.id == id; });
    CHECK(it != running_.end());
    return **it;
  };
  for (const Slice& slice : batch.slices) {
    Sequence& s = entry_of(slice.sequence->id).sequence;
    CHECK(slice.first == s.n_stored);
    s.n_stored += slice.count;
  }
  for (const Picked& pick : picked) {
    Entry& entry = entry_of(pick.sequence);
    entry.sequence.tokens.push_back(pick.token);
    if (!options_.kv_cache) entry.sequence.n_stored = 0;
    const bool full = entry.sequence.size() >= entry.max_size;
    if (pick.stop || full) {
      end_sequence(pick.sequence, pick.stop ? FinishReason::kStop : FinishReason::kLength);
    }
  }
}

std::vector<Ended> Scheduler::take_ended() {
  return std::exchange(ended_, {});
}

void Scheduler::check_integrity() const {
  int32_t leased = 0;
  for (const auto& e : running_) {
    const Sequence& s = e->sequence;
    leased += static_cast<int32_t>(s.blocks.size());
    CHECK(s.blocks == e->lease.blocks());
    CHECK(s.n_stored <= s.size() && s.size() <= e->max_size);
    CHECK(static_cast<int32_t>(s.blocks.size()) >= blocks_for(e->max_size));
  }
  for (const auto& e : waiting_) CHECK(e->lease.blocks().empty());
  CHECK(n_running() <= options_.max_sequences);
  CHECK(leased == pool_.n_leased());
  pool_.check_integrity();
}

}  // namespace farthing
