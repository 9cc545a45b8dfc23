#include "sample/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace farthing {

StopMatcher::Automaton::Automaton(std::string stop_in) : stop(std::move(stop_in)) {
  border.assign(stop.size(), 0);
  for (size_t i = 1; i < stop.size(); ++i) {
    uint32_t length = border[i - 1];
    while (length > 0 && stop[i] != stop[length]) length = border[length - 1];
    border[i] = length + (stop[i] == stop[length] ? 1 : 0);
  }
}

bool StopMatcher::Automaton::advance(char c) {
  // `matched` is below stop.size() here: the stream ends when it gets there.
  while (matched > 0 && stop[matched] != c) matched = border[matched - 1];
  if (stop[matched] == c) ++matched;
  return matched == stop.size();
}

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_stop)
    : include_stop_(include_stop) {
  automata_.reserve(stops.size());
  for (std::string& stop : stops) {
    if (!stop.empty()) automata_.emplace_back(std::move(stop));
  }
}

StopMatcher::Step StopMatcher::push(std::string_view text) {
  Step step;
  if (stopped_) {
    step.stopped = true;
    return step;
  }
  size_t open = 0;  // bytes at the end that may be the beginning of a stop string
  for (size_t i = 0; i < text.size(); ++i) {
    open = 0;
    for (Automaton& automaton : automata_) {
      if (automaton.advance(text[i])) stopped_ = true;
      open = std::max(open, automaton.matched);
    }
    if (!stopped_) continue;
    // The longest one that is complete, not the longest that is open.
    size_t complete = 0;
    for (const Automaton& automaton : automata_) {
      if (automaton.matched == automaton.stop.size())
        complete = std::max(complete, automaton.matched);
    }
    held_.append(text.substr(0, i + 1));
    if (!include_stop_) held_.resize(held_.size() - complete);
    step.text = std::exchange(held_, {});
    step.stopped = true;
    return step;
  }
  held_.append(text);
  if (text.empty()) return step;
  step.text = held_.substr(0, held_.size() - open);
  held_.erase(0, step.text.size());
  return step;
}

std::string StopMatcher::finish() {
  return stopped_ ? std::string() : std::exchange(held_, {});
}

}  // namespace farthing
