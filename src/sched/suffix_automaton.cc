#include "sched/suffix_automaton.h"

namespace farthing {
namespace {

constexpr size_t kLeastSlots = 64;
// So many states learn of a new occurrence, longest strings first: in a run of one token, all of
// them would be one for every token.
constexpr int kMostTold = 8;

}  // namespace

SuffixAutomaton::SuffixAutomaton() : states_(1), slots_(kLeastSlots, kNone) {}

int32_t SuffixAutomaton::new_state(int32_t length, int32_t end) {
  states_.push_back({.length = length, .end = end});
  return static_cast<int32_t>(states_.size()) - 1;
}

// Where the edge is, or would be.
size_t SuffixAutomaton::slot_of(int32_t state, TokenId token) const {
  uint64_t hash = uint64_t{static_cast<uint32_t>(state)} << 32 | static_cast<uint32_t>(token);
  hash *= 0x9e3779b97f4a7c15u;
  hash ^= hash >> 32;
  size_t slot = static_cast<size_t>(hash) & (slots_.size() - 1);
  while (slots_[slot] != kNone) {
    const Edge& edge = edges_[static_cast<size_t>(slots_[slot])];
    if (edge.state == state && edge.token == token) break;
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

int32_t SuffixAutomaton::edge_of(int32_t state, TokenId token) const {
  return slots_[slot_of(state, token)];
}

void SuffixAutomaton::add_edge(int32_t state, TokenId token, int32_t target) {
  if (2 * (edges_.size() + 1) > slots_.size()) grow_slots();
  const auto edge = static_cast<int32_t>(edges_.size());
  State& of = states_[static_cast<size_t>(state)];
  edges_.push_back({.state = state, .token = token, .target = target, .next = of.edges});
  of.edges = edge;
  slots_[slot_of(state, token)] = edge;
}

void SuffixAutomaton::grow_slots() {
  slots_.assign(2 * slots_.size(), kNone);
  for (size_t i = 0; i < edges_.size(); ++i)
    slots_[slot_of(edges_[i].state, edges_[i].token)] = static_cast<int32_t>(i);
}

// The strings of `state` that are one token longer than `from`'s longest, and shorter ones, become
// a state of their own: they occur where the rest of its strings don't.
int32_t SuffixAutomaton::clone(int32_t from, int32_t state, TokenId token) {
  const auto old = static_cast<size_t>(state);
  const int32_t copy = new_state(states_[static_cast<size_t>(from)].length + 1, states_[old].end);
  for (int32_t e = states_[old].edges; e != kNone; e = edges_[static_cast<size_t>(e)].next) {
    const Edge edge = edges_[static_cast<size_t>(e)];
    add_edge(copy, edge.token, edge.target);
  }
  states_[static_cast<size_t>(copy)].link = states_[old].link;
  states_[old].link = copy;
  for (int32_t p = from; p != kNone; p = states_[static_cast<size_t>(p)].link) {
    const int32_t e = edge_of(p, token);
    if (e == kNone || edges_[static_cast<size_t>(e)].target != state) break;
    edges_[static_cast<size_t>(e)].target = copy;
  }
  return copy;
}

void SuffixAutomaton::append(TokenId token) {
  text_.push_back(token);
  const auto end = static_cast<int32_t>(text_.size());
  // The state behind `from` with the token, whose longest string is from's and the token.
  const auto behind = [&](int32_t from, int32_t edge) {
    const int32_t state = edges_[static_cast<size_t>(edge)].target;
    const bool whole =
        states_[static_cast<size_t>(state)].length == states_[static_cast<size_t>(from)].length + 1;
    return whole ? state : clone(from, state, token);
  };
  int32_t earlier = 0;  // the state of the longest suffix that occurred before
  if (const int32_t e = edge_of(last_, token); e != kNone) {
    last_ = earlier = behind(last_, e);  // all of this text: another one begins alike
  } else {
    const int32_t whole = new_state(states_[static_cast<size_t>(last_)].length + 1, end);
    int32_t p = last_;
    int32_t edge = kNone;
    for (; p != kNone && (edge = edge_of(p, token)) == kNone;
         p = states_[static_cast<size_t>(p)].link)
      add_edge(p, token, whole);
    if (p != kNone) earlier = behind(p, edge);
    states_[static_cast<size_t>(whole)].link = earlier;
    last_ = whole;
  }
  repeated_ = {.length = states_[static_cast<size_t>(earlier)].length,
               .next = states_[static_cast<size_t>(earlier)].end};
  for (int32_t i = 0, p = earlier; i < kMostTold && p > 0;
       ++i, p = states_[static_cast<size_t>(p)].link)
    states_[static_cast<size_t>(p)].end = end;
}

void SuffixAutomaton::end_text() {
  text_.push_back(kEnd);
  last_ = 0;
  repeated_ = {};
}

// The state that a match is in: since it was found, shorter strings may have got their own.
SuffixAutomaton::Match SuffixAutomaton::shortest_state(Match match) const {
  for (int32_t link = states_[static_cast<size_t>(match.state)].link;
       link != kNone && states_[static_cast<size_t>(link)].length >= match.length;
       link = states_[static_cast<size_t>(link)].link)
    match.state = link;
  return match;
}

SuffixAutomaton::Match SuffixAutomaton::follow(Match match, TokenId token) const {
  match = shortest_state(match);
  while (true) {
    const int32_t e = edge_of(match.state, token);
    if (e != kNone) return {edges_[static_cast<size_t>(e)].target, match.length + 1};
    match.state = states_[static_cast<size_t>(match.state)].link;
    if (match.state == kNone) return {};
    match.length = states_[static_cast<size_t>(match.state)].length;
  }
}

int64_t SuffixAutomaton::bytes() const {
  const size_t bytes = text_.capacity() * sizeof(TokenId) + states_.capacity() * sizeof(State) +
                       edges_.capacity() * sizeof(Edge) + slots_.size() * sizeof(int32_t);
  return static_cast<int64_t>(bytes);
}

int32_t SuffixAutomaton::next_of(const Match& match) const {
  return states_[static_cast<size_t>(shortest_state(match).state)].end;
}

}  // namespace farthing
