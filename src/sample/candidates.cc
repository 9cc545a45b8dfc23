#include "sample/candidates.h"

#include <algorithm>
#include <cstddef>
#include <limits>

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

}  // namespace

Candidate best_of(std::span<const float> values) {
  Candidate best{-1, kMinusInfinity};
  const auto scan = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (values[i] > best.value) best = {static_cast<TokenId>(i), values[i]};
    }
  };
  size_t i = 0;
  for (; i + kStride <= values.size(); i += kStride) {
    if (stride_max(values.data() + i) > best.value) scan(i, i + kStride);
  }
  scan(i, values.size());
  return best;
}

std::vector<Candidate> top_k_of(std::span<const float> values, int32_t k) {
  const size_t keep = std::min(static_cast<size_t>(std::max(k, 0)), values.size());
  std::vector<Candidate> kept;
  if (keep == 0) return kept;
  // Twice k: each shrink costs O(k) and takes k new candidates to come again. Ids go up, so a later
  // equal value loses against the k-th best and the strict compare keeps ties with the lower id.
  const size_t room = keep * 2;
  kept.reserve(std::min(room, values.size()));
  float threshold = kMinusInfinity;
  const auto shrink = [&] {
    if (kept.size() <= keep) return;
    std::nth_element(kept.begin(), kept.begin() + keep - 1, kept.end(), better);
    kept.resize(keep);
    threshold = kept.back().value;
  };
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] > threshold)) continue;
    kept.push_back({static_cast<TokenId>(i), values[i]});
    if (kept.size() == room) shrink();
  }
  shrink();
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return kept;
}

Candidate nucleus_end(std::vector<Candidate> candidates, double goal) {
  // Weighted selection: halve the range that holds the end until it is small; linear on average.
  size_t begin = 0;
  size_t end = candidates.size();
  while (end - begin > 64) {
    const size_t middle = begin + (end - begin) / 2;
    const auto at = [&](size_t i) { return candidates.begin() + static_cast<ptrdiff_t>(i); };
    std::nth_element(at(begin), at(middle), at(end), better);
    double sum = 0;
    for (size_t i = begin; i < middle; ++i) sum += candidates[i].value;
    if (sum >= goal) {
      end = middle;
    } else {
      goal -= sum;
      begin = middle;
    }
  }
  std::sort(candidates.begin() + static_cast<ptrdiff_t>(begin),
            candidates.begin() + static_cast<ptrdiff_t>(end),
            better);
  for (double sum = 0; begin + 1 < end; ++begin) {
    sum += candidates[begin].value;
    if (sum >= goal) break;
  }
  return candidates[begin];
}

}  // namespace farthing
