// How one request picks its tokens. Defaults are those of the OpenAI API.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/ids.h"

namespace farthing {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  float top_p = 1.0f;        // (0, 1]
  int32_t top_k = 0;         // 0: off
  float min_p = 0.0f;        // [0, 1]: drop tokens below min_p * the likeliest one's probability
  float repetition_penalty =
      1.0f;                        // > 0, over prompt and output: logit > 0 ? logit / p : logit * p
  float frequency_penalty = 0.0f;  // per occurrence in the output
  float presence_penalty = 0.0f;   // once if in the output
  std::vector<std::pair<TokenId, float>> logit_bias;
  uint64_t seed = 0;
  int32_t logprobs = -1;  // -1: none; k >= 0: the chosen token's and the k likeliest ones'
};

}  // namespace farthing
