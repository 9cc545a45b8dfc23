#include "draft/model_drafter.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/clock.h"

namespace farthing {
namespace {

// A sequence with so many tokens unread at most gets its guesses in the same pass.
constexpr int32_t kFewUnread = 1 + kMostDraft;
constexpr int64_t kFewPasses = 8;
// Reading goes on by so many tokens at least, whatever the time is.
constexpr int32_t kLeastRead = 16;
constexpr int32_t kMostUnknown = 2;
constexpr double kUnknown = 1e-6;  // seconds: until a few passes were seen, they are tried

// By how much the best logit exceeds the second: how sure it is.
int32_t class_of_margin(float margin) {
  constexpr float kFrom[] = {0.5f, 1, 2, 3.5f, 6};
  static_assert(kDraftClasses == 2 * (std::size(kFrom) + 1));
  return static_cast<int32_t>(std::ranges::upper_bound(kFrom, margin) - kFrom);
}

uint64_t hash_of(uint64_t hash, std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash | 1;
}

std::span<const TokenId> tokens_of_block(const Sequence& s, int32_t block) {
  return std::span(s.tokens).subspan(static_cast<size_t>(block) * kKVBlockTokens, kKVBlockTokens);
}

DecoderOptions decoder_options(const ModelDrafterOptions& options) {
  return {.max_tokens = std::max(ModelDrafter::kMostRead, kFewUnread * options.max_sequences),
          .max_logits = options.max_sequences + 1,  // and one that reads
          .context = options.context,
          .kv_type = options.kv_type,
          .attention = options.attention,
          .n_layers = options.n_layers};
}

}  // namespace

int64_t ModelDrafter::bytes_needed(const Model& model,
                                   int32_t n_threads,
                                   const ModelDrafterOptions& options) {
  int64_t bytes = Decoder::workspace_bytes(model.spec, decoder_options(options), n_threads);
  if (!options.shares)
    bytes += KVStore::bytes_needed(model.kv_shapes(options.kv_type), options.n_blocks);
  return bytes;
}

Result<std::unique_ptr<ModelDrafter>> ModelDrafter::create(const Model& model,
                                                           Exec exec,
                                                           const KVStore& store,
                                                           const ModelDrafterOptions& options) {
  std::unique_ptr<ModelDrafter> drafter(new ModelDrafter());
  drafter->options_ = options;
  const DecoderOptions decoding = decoder_options(options);
  drafter->max_tokens_ = decoding.max_tokens;
  FARTHING_TRY(Decoder decoder, Decoder::create(model, exec, decoding));
  drafter->decoder_.emplace(std::move(decoder));
  drafter->store_ = &store;
  if (!options.shares) {
    FARTHING_TRY(drafter->own_,
                 KVStore::create(model.kv_shapes(options.kv_type), options.n_blocks));
    drafter->store_ = &drafter->own_;
    drafter->blocks_.assign(static_cast<size_t>(options.n_blocks), 0);
  }
  return drafter;
}

// How far the sequence's keys and values are there.
int32_t ModelDrafter::n_stored(const Sequence& sequence) {
  return options_.shares ? sequence.n_stored : look(sequence).n_stored;
}

// Its guesses that were right are read already; and so are blocks that somebody has read.
ModelDrafter::State& ModelDrafter::look(const Sequence& s) {
  State& state = sequences_[s.id.v];
  const auto after = std::span(s.tokens)
                         .first(static_cast<size_t>(s.size()))
                         .subspan(static_cast<size_t>(state.size));
  const auto n_right =
      static_cast<int32_t>(std::ranges::mismatch(after, state.guessed).in1 - after.begin());
  state.n_stored = std::min(state.n_stored, state.size + n_right);
  state.size = s.size();
  state.guessed.clear();
  // Blocks change hands: where two sequences have stored the same, one of them is taken for both.
  for (size_t b = 0; b < state.whole.size(); ++b) {
    if (blocks_[s.blocks[b].v] != state.whole[b]) state.whole.resize(b);
  }
  const int32_t whole = state.n_whole() * kKVBlockTokens;
  if (state.n_stored > whole && s.blocks[state.whole.size()] != state.tail) state.n_stored = whole;
  advance(s, state, state.n_stored);
  while (state.n_stored == state.n_whole() * kKVBlockTokens &&
         state.n_stored + kKVBlockTokens < s.size()) {
    const BlockHash hash = hash_of(state.hash(), tokens_of_block(s, state.n_whole()));
    if (blocks_[s.blocks[state.whole.size()].v] != hash) break;
    state.whole.push_back(hash);
    state.n_stored += kKVBlockTokens;
  }
  // The last token is always computed: its logits are wanted.
  state.n_stored = std::min(state.n_stored, s.size() - 1);
  return state;
}

// Keys and values are right up to n_stored: blocks that have become whole are told.
void ModelDrafter::advance(const Sequence& s, State& state, int32_t n_stored) {
  state.n_stored = n_stored;
  while ((state.n_whole() + 1) * kKVBlockTokens <= n_stored) {
    const BlockHash hash = hash_of(state.hash(), tokens_of_block(s, state.n_whole()));
    blocks_[s.blocks[state.whole.size()].v] = hash;
    state.whole.push_back(hash);
  }
  if (state.n_stored > state.n_whole() * kKVBlockTokens) state.tail = s.blocks[state.whole.size()];
}

Drafter::Cost ModelDrafter::cost(std::span<Draft* const> drafts) {
  if (passes_.n_observed() < kFewPasses) return {.pass = kUnknown};
  int64_t positions = 0;
  for (const Draft* draft : drafts) positions += draft->sequence->size();
  const auto n = static_cast<int64_t>(drafts.size());
  StepWork work = StepWork::of(static_cast<int32_t>(positions / n), 1);
  const double one = passes_.seconds(work);
  work += work;
  const double sequence = std::clamp(passes_.seconds(work) - one, 0.0, one);
  if (!options_.shares) {
    for (Draft* draft : drafts) draft->unread = seconds_to_read(*draft->sequence, one);
  }
  return {.pass = std::max(one - sequence, kUnknown), .sequence = sequence};
}

double ModelDrafter::seconds_to_read(const Sequence& s, double seconds_of_pass) const {
  const auto known = sequences_.find(s.id.v);
  const int32_t first = known == sequences_.end() ? 0 : known->second.n_stored;
  const int32_t n = s.size() - first;
  if (n <= kFewUnread) return 0;
  if (reads_.n_observed() < kFewPasses) return seconds_of_pass * n / kFewUnread;
  const int32_t count = std::min(n, kMostRead);
  return reads_.seconds(StepWork::of(first, count)) * n / count;
}

void ModelDrafter::guess(std::span<Draft* const> drafts, double spare) {
  const TimePoint began = Clock::now();
  for (bool first = true; first || !going_.empty(); first = false) {
    if (first) {
      start(drafts, spare);
    } else {
      batch_.slices.clear();
      for (Going& going : going_)
        batch_.slices.push_back(slice_of(*going.draft->sequence, going.n_stored++, 1));
    }
    if (batch_.slices.empty()) break;
    compute();
  }
  spent_ = seconds_between(began, Clock::now());
}

// The first pass: what isn't read of each, and the last token's logits. One sequence with much
// unread goes on a piece; blocks that it shares with another of these are so written by one alone.
void ModelDrafter::start(std::span<Draft* const> drafts, double spare) {
  batch_.slices.clear();
  going_.clear();
  const Sequence* reads = nullptr;
  int32_t first = 0;
  int32_t room = max_tokens_;
  StepWork work;
  for (Draft* draft : drafts) {
    const Sequence& s = *draft->sequence;
    // What a pass costs isn't known yet, and `least` neither.
    if (passes_.n_observed() < kFewPasses && draft->least > 0)
      draft->most = std::min(draft->most, kMostUnknown);
    const int32_t stored = n_stored(s);
    const int32_t unread = s.size() - stored;
    if (unread > kFewUnread) {
      if (!reads) reads = &s, first = stored;
    } else if (unread <= room && static_cast<int32_t>(going_.size()) < options_.max_sequences) {
      batch_.slices.push_back(slice_of(s, stored, unread));
      going_.push_back({draft, s.size(), 1});
      work += StepWork::of(stored, unread);
      room -= unread;
    }
  }
  if (!reads) return;
  const double target = passes_.seconds(work) + spare;
  const int32_t fits = reads_.tokens_beside(work, first, target, kMostRead);
  const int32_t count = std::min({reads->size() - 1 - first, room, std::max(fits, kLeastRead)});
  if (count <= 0) return;
  batch_.slices.push_back({.sequence = reads, .first = first, .count = count});
}

Slice ModelDrafter::slice_of(const Sequence& s, int32_t first, int32_t count) {
  return {.sequence = &s, .first = first, .count = count, .n_logits = 1, .n_best = 2};
}

void ModelDrafter::compute() {
  StepWork work;
  bool reads = false;
  for (const Slice& slice : batch_.slices) {
    work += StepWork::of(slice.first, slice.count);
    reads = reads || slice.n_logits == 0;
    n_read_ += std::max(0, std::min(slice.count, slice.sequence->size() - slice.first));
    if (options_.shares) continue;
    // These blocks are nobody's any more until they are whole.
    const int32_t last = (slice.first + slice.count - 1) / kKVBlockTokens;
    for (int32_t b = slice.first / kKVBlockTokens; b <= last; ++b)
      blocks_[slice.sequence->blocks[static_cast<size_t>(b)].v] = 0;
  }
  const TimePoint began = Clock::now();
  const Logits logits = decoder_->forward(batch_, *store_);
  pick(logits);
  (reads ? reads_ : passes_).observe(work, seconds_between(began, Clock::now()));
  if (reads) {
    const Slice& slice = batch_.slices.back();
    State& state = sequences_[slice.sequence->id.v];
    advance(*slice.sequence, state, slice.first + slice.count);
  }
}

// A guess more for each that goes on; those that don't any more are done.
void ModelDrafter::pick(const Logits& logits) {
  int64_t row = 0;
  std::erase_if(going_, [&](Going& going) {
    const Likeliest likeliest = likeliest_of(logits, row++);
    const int32_t draft_class = class_of_margin(likeliest.margin);
    going.draft->push(likeliest.token, draft_class);
    going.reached *= going.draft->control->acceptance(draft_class);
    if (going.draft->size() < going.draft->most && going.reached >= going.draft->least)
      return false;
    if (!options_.shares) keep(going);
    return true;
  });
}

ModelDrafter::Likeliest ModelDrafter::likeliest_of(const Logits& logits, int64_t row) {
  std::span<const Candidate> best = logits.best_of(row);
  if (best.empty()) {  // all logits are there, of a vocabulary so small
    top_.start(2);
    top_.add(logits.all_of(row), 0);
    best = top_.finish();
  }
  if (best.empty()) return {};  // all are minus infinity
  if (best.size() == 1) return {best[0].id, 0};
  const bool second = better(best[1], best[0]);
  return {best[second ? 1 : 0].id, std::abs(best[0].value - best[1].value)};
}

void ModelDrafter::keep(const Going& going) {
  const Sequence& s = *going.draft->sequence;
  State& state = sequences_[s.id.v];
  state.n_stored = going.n_stored;
  state.tail = s.blocks[state.whole.size()];
  state.guessed.assign(s.tokens.begin() + s.size(), s.tokens.end());
}

}  // namespace farthing
