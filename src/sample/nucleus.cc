#include "sample/nucleus.h"

#include <algorithm>
#include <cstddef>

namespace farthing {

Candidate nucleus_end(std::span<Candidate> candidates, double goal) {
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
