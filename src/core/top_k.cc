#include "core/top_k.h"

#include <algorithm>
#include <cstddef>

namespace farthing {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Wide enough for independent compares, small enough to search again at once.
constexpr size_t kStride = 32;

// The maximum of kStride values; NaN loses every compare.
float stride_max(const float* values) {
  float lane[8];
  std::fill_n(lane, 8, kMinusInfinity);
  for (size_t i = 0; i < kStride; i += 8) {
    for (size_t j = 0; j < 8; ++j) lane[j] = values[i + j] > lane[j] ? values[i + j] : lane[j];
  }
  float best = lane[0];
  for (size_t j = 1; j < 8; ++j) best = lane[j] > best ? lane[j] : best;
  return best;
}

// Calls scan(begin, end) for the strides, and the rest, where something may exceed threshold().
template <class Threshold, class Scan>
void for_large(std::span<const float> values, Threshold threshold, Scan scan) {
  size_t i = 0;
  for (; i + kStride <= values.size(); i += kStride) {
    if (stride_max(values.data() + i) > threshold()) scan(i, i + kStride);
  }
  scan(i, values.size());
}

}  // namespace

Candidate best_of(std::span<const float> values) {
  Candidate best{-1, kMinusInfinity};
  for_large(
      values,
      [&] { return best.value; },
      [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          if (values[i] > best.value) best = {static_cast<TokenId>(i), values[i]};
        }
      });
  return best;
}

void TopK::start(int32_t k) {
  keep_ = static_cast<size_t>(std::max(k, 0));
  threshold_ = keep_ > 0 ? kMinusInfinity : std::numeric_limits<float>::infinity();
  kept_.clear();
  // Twice k: each shrink costs O(k), and k new candidates have to come before the next.
  kept_.reserve(2 * keep_);
}

// Ids go up, so a later equal value loses against the k-th best: the strict compares keep ties with
// the lower id.
void TopK::add(std::span<const float> values, TokenId first) {
  for_large(
      values,
      [&] { return threshold_; },
      [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          if (!(values[i] > threshold_)) continue;
          kept_.push_back({first + static_cast<TokenId>(i), values[i]});
          if (kept_.size() == 2 * keep_) shrink();
        }
      });
}

void TopK::merge(const TopK& other) {
  for (const Candidate& c : other.kept_) {
    kept_.push_back(c);
    if (kept_.size() == 2 * keep_) shrink();
  }
}

void TopK::shrink() {
  if (kept_.size() <= keep_) return;
  std::nth_element(
      kept_.begin(), kept_.begin() + static_cast<ptrdiff_t>(keep_) - 1, kept_.end(), better);
  kept_.resize(keep_);
  threshold_ = kept_.back().value;
}

std::span<const Candidate> TopK::finish() {
  shrink();
  std::sort(kept_.begin(), kept_.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return kept_;
}

std::vector<Candidate> top_k_of(std::span<const float> values, int32_t k) {
  TopK best;
  best.start(static_cast<int32_t>(std::min(static_cast<size_t>(std::max(k, 0)), values.size())));
  best.add(values, 0);
  const auto kept = best.finish();
  return {kept.begin(), kept.end()};
}

}  // namespace farthing
