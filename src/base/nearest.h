// "unknown verb chekc: did you mean check?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace farthing {

// The candidate that takes the fewest insertions, deletions, changes and swaps of neighbours
// (Damerau, 1964) to become `word`; empty if all are far.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace farthing
