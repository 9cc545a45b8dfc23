// Which runs of tokens a text has, and where it goes on behind them: the smallest automaton that
// reads the suffixes of a text that grows (Blumer et al., The smallest automaton recognizing the
// subwords of a text, 1985). Owns: the text. Does not know: sequences, who may see what.
// A token takes O(1), amortised, and at most kBytesPerToken, however the text repeats itself.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"

namespace farthing {

class SuffixAutomaton {
 public:
  SuffixAutomaton();

  void append(TokenId token);
  // What comes next is another text: nothing is found that goes across. kEnd stands between them.
  void end_text();
  static constexpr TokenId kEnd = -1;
  std::span<const TokenId> text() const { return text_; }

  // The longest suffix of the last text that also occurs earlier, or in a text before.
  struct Repeated {
    int32_t length = 0;
    int32_t next = 0;  // the place in text() behind an earlier occurrence
  };
  Repeated repeated() const { return repeated_; }

  // The longest suffix of some other tokens that occurs in the text: follow() it token by token,
  // from Match{} on. It stays right while the text grows, though it doesn't become longer.
  struct Match {
    int32_t state = 0;
    int32_t length = 0;
  };
  Match follow(Match match, TokenId token) const;
  int32_t next_of(const Match& match) const;  // as Repeated::next

  int64_t bytes() const;  // that it takes of memory
  // At most 2 states and 3 edges a token, and vectors that double.
  static constexpr int64_t kBytesPerToken = 2 * (2 * 16 + 3 * 16 + 4) + 3 * 4 * 4;

 private:
  static constexpr int32_t kNone = -1;
  struct State {
    int32_t length = 0;     // of its longest string
    int32_t link = kNone;   // the state of the longest suffix that is not in this one
    int32_t end = 0;        // behind an occurrence, a late one
    int32_t edges = kNone;  // the first of its list
  };
  struct Edge {
    int32_t state;
    TokenId token;
    int32_t target;
    int32_t next;  // of the same state
  };

  int32_t new_state(int32_t length, int32_t end);
  int32_t clone(int32_t from, int32_t state, TokenId token);
  int32_t edge_of(int32_t state, TokenId token) const;
  size_t slot_of(int32_t state, TokenId token) const;
  void add_edge(int32_t state, TokenId token, int32_t target);
  void grow_slots();
  Match shortest_state(Match match) const;

  std::vector<TokenId> text_;
  std::vector<State> states_;
  std::vector<Edge> edges_;
  std::vector<int32_t> slots_;  // a hash table of edges by state and token, or kNone
  int32_t last_ = 0;            // of the whole last text
  Repeated repeated_;
};

}  // namespace farthing
