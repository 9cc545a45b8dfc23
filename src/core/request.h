// Request: one API call as the engine sees it, all tokens, no text formats.
// It owns n >= 1 Sequences and ends in exactly one terminal Event (core/event.h: RequestEnd).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core/cache_salt.h"
#include "core/ids.h"
#include "core/sampling_params.h"

namespace farthing {

struct Request {
  std::vector<TokenId> prompt;  // never empty
  SamplingParams sampling;
  int32_t n = 1;            // samples; sample i differs only by its random numbers
  int32_t max_tokens = 16;  // >= 1 per sample (0: only evaluate the prompt)
  int32_t min_tokens = 0;   // no stop of any kind before that many
  bool ignore_eos = false;
  // What the model says of the prompt's own tokens comes first, as events of_prompt. Needs logprobs
  // and n == 1; all of the prompt is computed then, whatever is stored of it.
  bool score_prompt = false;
  bool skip_special = true;          // control tokens don't appear in the text
  bool include_stop = false;         // the stop string that ended the text is part of it
  std::vector<std::string> stop;     // stop strings; never leaked, even across token borders
  std::vector<TokenId> stop_tokens;  // beyond the model's own end-of-generation tokens
  std::optional<TimePoint> deadline;
  int32_t priority = 0;  // lower runs sooner, where the scheduler's policy asks for it
  uint64_t caller = 0;   // whose share of the machine it takes
  CacheSalt salt;
};

}  // namespace farthing
