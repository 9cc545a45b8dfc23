// What the engine says about a request, in order. Each request: TokenEvents, one SampleEnd per
// sample, and exactly one RequestEnd, which is the last.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "core/cache_miss.h"
#include "core/ids.h"
#include "core/sequence.h"
#include "core/slice_cut.h"
#include "core/wait_reason.h"

namespace farthing {

enum class FinishReason : uint8_t {
  kStop,       // end-of-generation token, stop token or stop string
  kLength,     // max_tokens or the end of the context
  kCancelled,  // the caller left
  kDeadline,   // Request::deadline passed
};
inline constexpr size_t kFinishReasonCount = 4;

constexpr std::string_view finish_reason_name(FinishReason reason) {
  constexpr std::string_view kNames[] = {"stop", "length", "cancelled", "deadline"};
  return kNames[static_cast<size_t>(reason)];
}

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;  // natural logarithm, of the softmax before temperature and truncation
};

struct TokenEvent {
  RequestId request;
  uint32_t sample = 0;
  TokenId token = 0;
  bool of_prompt = false;  // Request::score_prompt: not generated, and without text
  std::string
      text;  // whole UTF-8 characters; may be empty while a stop string or character is open
  std::optional<TokenLogprob> logprob;
  std::vector<TokenLogprob> top;  // the likeliest ones, best first
};

struct SampleEnd {
  RequestId request;
  uint32_t sample = 0;
  FinishReason reason = FinishReason::kStop;
  std::string text;  // what was still held back
};

struct Usage {
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;               // of the prompt, not computed again
  CacheMiss cache_miss = CacheMiss::kOff;  // why not more
  int32_t completion_tokens = 0;           // over all samples
};

// Of the steps that gave a sample the tokens after its first, over all samples. Places in a draft
// begin with 0.
struct DraftTimings {
  int32_t drafted_tokens = 0;
  int32_t accepted_tokens = 0;  // of those
  std::array<int32_t, kMostDraft> drafted_at{};
  std::array<int32_t, kMostDraft> accepted_at{};
  int64_t steps = 0;         // of a sample
  int64_t tokens = 0;        // that came out of them
  double seconds = 0;        // of the steps, drafting included
  double plain_seconds = 0;  // the same tokens one by one, by the step model

  DraftTimings& operator+=(const DraftTimings& other) {
    drafted_tokens += other.drafted_tokens;
    accepted_tokens += other.accepted_tokens;
    for (size_t i = 0; i < drafted_at.size(); ++i) {
      drafted_at[i] += other.drafted_at[i];
      accepted_at[i] += other.accepted_at[i];
    }
    steps += other.steps;
    tokens += other.tokens;
    seconds += other.seconds;
    plain_seconds += other.plain_seconds;
    return *this;
  }
  double tokens_per_step() const {
    return steps > 0 ? static_cast<double>(tokens) / static_cast<double>(steps) : 0;
  }
  double speedup() const { return seconds > 0 ? plain_seconds / seconds : 0; }
};

struct Timings {
  double queue_seconds = 0;
  double prefill_seconds = 0;  // from admission to the first token
  double decode_seconds = 0;   // from the first token to the last
  double total_seconds = 0;    // from submission to the end
  // Of the machine's time, what this request is charged for: each step's is divided among those
  // that were in it. A step's work on the prompt is the prompt's, also when it is done again.
  double prompt_busy_seconds = 0;
  double completion_busy_seconds = 0;
  DraftTimings drafts;
};

// What happened on the way: why it took as long as it did.
struct Timeline {
  WaitSeconds waited{};                        // of the sample that waited longest
  int32_t n_preempted = 0;                     // over all samples
  int32_t n_prefill_steps = 0;                 // steps that computed some of the prompt
  std::array<int32_t, kSliceCutCount> cuts{};  // of these, by why they didn't compute more
  double longest_gap_seconds = 0;              // between two tokens of a sample
  FinishReason finish = FinishReason::kStop;   // of the sample that ended last
};

struct RequestEnd {
  RequestId request;
  std::optional<Error> error;
  Usage usage;
  Timings timings;
  Timeline timeline;
};

using Event = std::variant<TokenEvent, SampleEnd, RequestEnd>;

}  // namespace farthing
