// Owns: the text of one sample that might still become a stop string. Text goes in as it is decoded and comes out
// once it can no longer be part of one. Invariant: no prefix of a stop string that completes is ever given out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace farthing {

class StopMatcher {
 public:
  StopMatcher(std::vector<std::string> stops, bool include_stop);

  struct Step {
    std::string text;      // safe to show
    bool stopped = false;  // a stop string completed; text ends before it (or with it: include_stop)
  };
  Step push(std::string_view text);
  std::string finish();    // the end of the stream: what was held back

 private:
  std::vector<std::string> stops_;
  bool include_stop_;
  std::string held_;
};

}  // namespace farthing
