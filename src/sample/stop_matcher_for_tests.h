// The slow twin of the StopMatcher: looks at every prefix of the whole text.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace farthing {

struct StopOutcome {
  std::string text;
  bool stopped = false;
  bool operator==(const StopOutcome&) const = default;
};

inline StopOutcome stop_outcome(const std::string& text,
                                const std::vector<std::string>& stops,
                                bool include_stop) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (!stop.empty() && stop.size() <= end &&
          text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, include_stop ? end : end - longest), true};
  }
  return {text, false};
}

}  // namespace farthing
