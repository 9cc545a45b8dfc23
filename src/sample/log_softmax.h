// The normaliser of a softmax, for log-probabilities of logits as the model gave them.
#pragma once

#include <span>

namespace farthing {

// ln(sum of exp(x)), summed in double. NaN counts as minus infinity; minus infinity if all are,
// plus infinity if one is.
double log_sum_exp(std::span<const float> logits);

}  // namespace farthing
