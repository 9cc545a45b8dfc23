#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "base/check.h"
#include "sample/log_softmax.h"
#include "sample/logit_rules.h"
#include "sample/nucleus.h"
#include "sample/philox.h"

namespace farthing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGreedyBelow = 1e-5f;

// What a thread's tokens are chosen in: kept, so that a token takes no memory that the one before
// didn't.
struct Scratch {
  std::vector<float> logits;
  TopK best;
  std::vector<Candidate> kept, nucleus;
};
thread_local Scratch scratch;

// Makes the largest logit finite: plus infinities become 0 and everything else minus infinity.
float settle_infinities(std::span<float> logits, float largest) {
  if (largest < kInfinity) return largest;
  for (float& x : logits) x = x == kInfinity ? 0.0f : -kInfinity;
  return 0.0f;
}

// exp((x - largest) / temperature): 1 for the likeliest token, 0 for NaN.
float weight(float logit, float largest, float inverse_temperature) {
  const float x = (logit - largest) * inverse_temperature;
  return x > -100.0f ? std::exp(x) : 0.0f;
}

// To scratch.kept, by id.
void top_k(std::span<const float> logits, int32_t k) {
  scratch.best.start(k);
  scratch.best.add(logits, 0);
  const std::span<const Candidate> best = scratch.best.finish();
  scratch.kept.assign(best.begin(), best.end());
}

// Natural logarithms of the softmax of unmodified logits, kept while the sampler changes its input.
class Logprobs {
 public:
  Logprobs(std::span<const float> logits, int32_t n_top)
      : logits_(scratch.logits), n_top_(n_top), log_sum_(log_sum_exp(logits)) {
    logits_.assign(logits.begin(), logits.end());
  }

  void report(TokenId chosen, Sampled& out) const {
    out.logprob = of(chosen);
    if (n_top_ == 0) return;
    top_k(logits_, n_top_);
    std::sort(scratch.kept.begin(), scratch.kept.end(), better);
    out.top.reserve(scratch.kept.size());
    for (const Candidate& c : scratch.kept) out.top.push_back(of(c.id));
  }

 private:
  TokenLogprob of(TokenId id) const {
    const float logit = logits_[id];
    // Minus infinity for NaN, and if all are minus infinity; 0 for a plus infinity.
    const double value = logit == kInfinity ? 0.0 : logit - log_sum_;
    return {id, value <= 0 ? static_cast<float>(value) : -kInfinity};
  }

  std::vector<float>& logits_;
  int32_t n_top_;
  double log_sum_;
};

TokenId lowest_allowed(size_t vocabulary, std::span<const TokenId> banned) {
  for (size_t id = 0; id < vocabulary; ++id) {
    if (std::find(banned.begin(), banned.end(), static_cast<TokenId>(id)) == banned.end()) {
      return static_cast<TokenId>(id);
    }
  }
  return 0;
}

// The candidates stand in the order of ids, so that a filter that removes nothing changes nothing.
TokenId draw(const std::vector<Candidate>& candidates, double u) {
  double total = 0;
  for (const Candidate& c : candidates) total += c.value;
  double left = u * total;
  for (const Candidate& c : candidates) {
    left -= c.value;
    if (left < 0) return c.id;
  }
  return candidates.back().id;
}

// No filter: the weights take the place of the logits.
TokenId draw_unfiltered(std::span<float> logits,
                        float largest,
                        float inverse_temperature,
                        double u) {
  double total = 0;
  for (float& x : logits) {
    x = weight(x, largest, inverse_temperature);
    total += x;
  }
  double left = u * total;
  TokenId last = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == 0) continue;
    last = static_cast<TokenId>(i);
    left -= logits[i];
    if (left < 0) break;
  }
  return last;
}

// Every token that top-p or min-p could keep to scratch.kept, as weights; gives the weight of the
// whole vocabulary.
double keep_likely_ones(std::span<float> logits,
                        float largest,
                        float inverse_temperature,
                        const SamplingParams& params) {
  double total = 0;
  for (float& x : logits) {
    x = weight(x, largest, inverse_temperature);
    total += x;
  }
  // Tokens below (1 - p) / n of the probability have less than 1 - p together: the nucleus needs
  // none of them. Half of that, so that rounding can't matter.
  double floor = params.min_p;
  if (params.top_p < 1) {
    floor =
        std::max(floor, 0.5 * (1.0 - params.top_p) * total / static_cast<double>(logits.size()));
  }
  scratch.kept.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > 0 && logits[i] >= floor)
      scratch.kept.push_back({static_cast<TokenId>(i), logits[i]});
  }
  return total;
}

// scratch.kept from logits to weights; gives their total.
double to_weights(float largest, float inverse_temperature) {
  double total = 0;
  for (Candidate& c : scratch.kept) {
    c.value = weight(c.value, largest, inverse_temperature);
    total += c.value;
  }
  return total;
}

// Of what top-k left in scratch.kept, as weights with this total.
TokenId draw_kept(double total, const SamplingParams& params, double u) {
  std::vector<Candidate>& kept = scratch.kept;
  if (params.top_p < 1) {
    scratch.nucleus = kept;
    const Candidate last = nucleus_end(scratch.nucleus, params.top_p * total);
    std::erase_if(kept, [&last](const Candidate& c) { return better(last, c); });
  }
  if (params.min_p > 0) {
    // The likeliest token's weight is 1; it stays even if min_p is beyond its range.
    const float least = std::min(params.min_p, 1.0f);
    std::erase_if(kept, [least](const Candidate& c) { return c.value < least; });
  }
  return draw(kept, u);
}

TokenId draw_filtered(std::span<float> logits,
                      float largest,
                      float inverse_temperature,
                      const SamplingParams& params,
                      double u) {
  if (params.top_k > 0) {
    top_k(logits, params.top_k);
    return draw_kept(to_weights(largest, inverse_temperature), params, u);
  }
  const double total = keep_likely_ones(logits, largest, inverse_temperature, params);
  return draw_kept(total, params, u);
}

bool is_greedy(const SamplingParams& params) {
  return !(params.temperature >= kGreedyBelow);
}

// The same as pick() for params that need no more than the best.
TokenId pick_best(const SampleInput& input, const SamplingParams& params) {
  const auto best = std::min_element(input.best.begin(), input.best.end(), better);
  if (best == input.best.end()) return 0;  // all are minus infinity
  if (is_greedy(params)) return best->id;

  std::vector<Candidate>& kept = scratch.kept;
  kept.assign(input.best.begin(), input.best.end());
  float largest = best->value;
  if (largest == kInfinity) {  // see settle_infinities()
    std::erase_if(kept, [](const Candidate& c) { return c.value < kInfinity; });
    for (Candidate& c : kept) c.value = 0;
    largest = 0;
  }
  const double total = to_weights(largest, 1.0f / params.temperature);
  return draw_kept(total, params, uniform(params.seed, input.sample, input.position));
}

TokenId pick(const SampleInput& input, const SamplingParams& params) {
  const Candidate best = best_of(input.logits);
  if (best.id < 0) return lowest_allowed(input.logits.size(), input.banned);
  if (is_greedy(params)) return best.id;

  const float largest = settle_infinities(input.logits, best.value);
  const float inverse_temperature = 1.0f / params.temperature;
  const double u = uniform(params.seed, input.sample, input.position);
  const bool filtered = params.top_k > 0 || params.top_p < 1 || params.min_p > 0;
  return filtered ? draw_filtered(input.logits, largest, inverse_temperature, params, u)
                  : draw_unfiltered(input.logits, largest, inverse_temperature, u);
}

}  // namespace

int32_t best_needed(const SamplingParams& params) {
  const bool changes_logits = !params.logit_bias.empty() || params.repetition_penalty != 1.0f ||
                              params.frequency_penalty != 0 || params.presence_penalty != 0;
  if (changes_logits || params.logprobs >= 0) return 0;
  if (is_greedy(params)) return 1;
  return params.top_k > 0 && params.top_k <= kMostBest ? params.top_k : 0;
}

Sampled score_token(std::span<const float> logits, TokenId token, int32_t n_top) {
  Sampled out{.token = token};
  Logprobs(logits, n_top).report(token, out);
  return out;
}

Sampled sample_token(const SampleInput& input, const SamplingParams& params) {
  if (input.logits.empty()) {
    CHECK(best_needed(params) > 0);
    Sampled out;
    out.token = pick_best(input, params);
    return out;
  }
  std::optional<Logprobs> logprobs;
  if (params.logprobs >= 0) logprobs.emplace(input.logits, params.logprobs);

  apply_logit_bias(input.logits, params);
  apply_penalties(input.logits, input.prompt, input.output, params);
  apply_ban(input.logits, input.banned);

  Sampled out;
  out.token = pick(input, params);
  if (logprobs) logprobs->report(out.token, out);
  return out;
}

double uniform(uint64_t seed, uint32_t sample, uint32_t position) {
  const PhiloxCounter words = philox4x32(
      {position, sample, 0, 0}, {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t bits = (uint64_t{words[1]} << 32) | words[0];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace farthing
