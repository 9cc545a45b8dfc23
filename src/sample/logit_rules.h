// What is done to logits before a token is picked: bias, penalties, bans. In place, in the order
// given here.
#pragma once

#include <span>

#include "core/ids.h"
#include "core/sampling_params.h"

namespace farthing {

// Added as it is: -100 and +100 are a ban and a choice in practice, as in the OpenAI API.
void apply_logit_bias(std::span<float> logits, const SamplingParams& params);

// First the repetition penalty over prompt and output (once per distinct token: divide positive
// logits, multiply the others; Keskar et al. 2019, CTRL), then frequency and presence over the
// output only.
void apply_penalties(std::span<float> logits,
                     std::span<const TokenId> prompt,
                     std::span<const TokenId> output,
                     const SamplingParams& params);

void apply_ban(std::span<float> logits, std::span<const TokenId> banned);

}  // namespace farthing
