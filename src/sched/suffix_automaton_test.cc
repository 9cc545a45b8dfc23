#include "sched/suffix_automaton.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace farthing {
namespace {

using Tokens = std::vector<TokenId>;

// The slow twin: texts side by side, every place tried.
struct Texts {
  std::vector<Tokens> texts{{}};

  void append(TokenId token) { texts.back().push_back(token); }
  void end_text() { texts.push_back({}); }

  static bool is_suffix_at(const Tokens& text, size_t end, std::span<const TokenId> suffix) {
    return suffix.size() <= end &&
           std::equal(suffix.begin(),
                      suffix.end(),
                      text.begin() + static_cast<ptrdiff_t>(end - suffix.size()));
  }
  // The longest suffix of `tokens` that occurs in the texts; of the last one not at its very end.
  size_t longest(std::span<const TokenId> tokens, bool own) const {
    for (size_t n = tokens.size(); n > 0; --n) {
      for (const Tokens& text : texts) {
        const size_t until = text.size() - (own && &text == &texts.back() ? 1 : 0);
        for (size_t end = n; end <= until; ++end) {
          if (is_suffix_at(text, end, tokens.last(n))) return n;
        }
      }
    }
    return 0;
  }
};

// That `next` is behind an occurrence of these tokens, inside one text.
void expect_behind(const SuffixAutomaton& automaton, int32_t next, std::span<const TokenId> run) {
  const std::span<const TokenId> text = automaton.text();
  RC_ASSERT(next >= static_cast<int32_t>(run.size()));
  RC_ASSERT(next <= static_cast<int32_t>(text.size()));
  for (size_t i = 0; i < run.size(); ++i)
    RC_ASSERT(text[static_cast<size_t>(next) - run.size() + i] == run[i]);
}

// Texts of few tokens repeat themselves in every way there is. A sequence is followed meanwhile.
RC_GTEST_PROP(SuffixAutomatonProperty, IsItsSlowTwin, ()) {
  const int vocabulary = *rc::gen::inRange(1, 6);
  const auto script = *rc::gen::container<std::vector<int>>(rc::gen::inRange(-1, 3 * vocabulary));
  SuffixAutomaton automaton;
  Texts twin;
  SuffixAutomaton::Match match;
  Tokens followed;
  for (const int what : script) {
    if (what < 0) {
      automaton.end_text();
      twin.end_text();
      RC_ASSERT(automaton.repeated().length == 0);
    } else if (what < 2 * vocabulary) {
      automaton.append(what % vocabulary);
      twin.append(what % vocabulary);
      const Tokens& last = twin.texts.back();
      const SuffixAutomaton::Repeated got = automaton.repeated();
      RC_ASSERT(got.length == static_cast<int32_t>(twin.longest(last, true)));
      if (got.length > 0) {
        const auto run = std::span<const TokenId>(last).last(static_cast<size_t>(got.length));
        expect_behind(automaton, got.next, run);
        RC_ASSERT(got.next < static_cast<int32_t>(automaton.text().size()));
      }
    } else {
      followed.push_back(what % vocabulary);
      const int32_t before = match.length;
      match = automaton.follow(match, followed.back());
      RC_ASSERT(match.length <= before + 1);
      // The text may have grown behind it since: then what was found is right, but not the longest.
      const auto n = static_cast<int32_t>(twin.longest(followed, false));
      RC_ASSERT(match.length <= n);
      SuffixAutomaton::Match anew;
      for (const TokenId token : followed) anew = automaton.follow(anew, token);
      RC_ASSERT(anew.length == n);
      if (match.length > 0) {
        const auto run = std::span<const TokenId>(followed).last(static_cast<size_t>(match.length));
        expect_behind(automaton, automaton.next_of(match), run);
      }
    }
  }
}

// Long ones too, where the table of edges has grown and states were cloned by the hundred.
TEST(SuffixAutomaton, LongTexts) {
  std::mt19937 random(3);
  for (const uint32_t vocabulary : {2u, 7u, 300u}) {
    SuffixAutomaton automaton;
    Texts twin;
    for (int i = 0; i < 700; ++i) {
      TokenId token = static_cast<TokenId>(random() % vocabulary);
      if (i > 300 && i < 500) token = twin.texts.front()[static_cast<size_t>(i) - 250];
      automaton.append(token);
      twin.append(token);
      ASSERT_EQ(automaton.repeated().length,
                static_cast<int32_t>(twin.longest(twin.texts.back(), true)))
          << i;
    }
  }
}

// The costly texts: a run of one token, and the one that needs most states (Blumer et al.).
TEST(SuffixAutomaton, CostsNoMoreThanItSays) {
  for (const int period : {0, 1}) {
    SuffixAutomaton automaton;
    for (int i = 0; i < 100000; ++i) automaton.append(i == 0 ? 1 : period == 0 ? 2 : 2 + i % 2);
    EXPECT_GT(automaton.repeated().length, 99000);
    EXPECT_LE(automaton.bytes(), 100000 * SuffixAutomaton::kBytesPerToken);
  }
  std::mt19937 random(1);
  SuffixAutomaton automaton;
  for (int i = 0; i < 50000; ++i) automaton.append(static_cast<TokenId>(random() % 3));
  EXPECT_LE(automaton.bytes(), 50000 * SuffixAutomaton::kBytesPerToken);
}

}  // namespace
}  // namespace farthing
