// Owns: the text of one sample that might still become a stop string. Text goes in as it is decoded
// and comes out once it can no longer be part of one. Does not know: tokens. Invariant: no prefix
// of a stop string that completes is ever given out; what comes out doesn't depend on how the text
// was cut into pieces. Time is linear in the text (one automaton per stop string; Knuth, Morris,
// Pratt 1977).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace farthing {

class StopMatcher {
 public:
  // Empty stop strings are ignored.
  StopMatcher(std::vector<std::string> stops, bool include_stop);

  struct Step {
    std::string text;  // safe to show
    bool stopped =
        false;  // a stop string completed; text ends before it (or with it: include_stop)
  };
  // The stop string that completes first ends the text; of several that complete at once, the
  // longest. After that nothing comes out any more.
  Step push(std::string_view text);
  std::string finish();  // the end of the stream: what was held back

 private:
  struct Automaton {
    std::string stop;
    std::vector<uint32_t> border;  // border[i]: longest proper border of the first i + 1 bytes
    size_t matched = 0;            // how many bytes of `stop` the text ends with (the most)

    explicit Automaton(std::string stop_in);
    bool advance(char c);  // true if `stop` completed
  };

  std::vector<Automaton> automata_;
  bool include_stop_;
  bool stopped_ = false;
  std::string held_;
};

}  // namespace farthing
