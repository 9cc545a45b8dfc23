#include "sched/lookup_drafter.h"

#include <algorithm>
#include <iterator>

namespace farthing {
namespace {

constexpr size_t kLeastBuckets = 256;
constexpr int kMostTried = 64;  // occurrences, latest first: a text of one token has thousands

}  // namespace

size_t LookupIndex::bucket(std::span<const TokenId> tokens, int32_t end) const {
  uint64_t hash = 0;
  for (int32_t i = end - kGram; i < end; ++i) {
    hash = (hash ^ static_cast<uint32_t>(tokens[static_cast<size_t>(i)])) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return static_cast<size_t>(hash) & (heads_.size() - 1);
}

void LookupIndex::add(std::span<const TokenId> tokens, int32_t end) {
  int32_t& head = heads_[bucket(tokens, end)];
  before_[static_cast<size_t>(end)] = head;
  head = end;
}

void LookupIndex::grow(std::span<const TokenId> tokens) {
  const auto n_known = static_cast<int32_t>(before_.size());
  before_.resize(tokens.size() + 1);
  if (heads_.size() < tokens.size()) {
    size_t size = std::max(heads_.size(), kLeastBuckets);
    while (size < tokens.size()) size *= 2;
    heads_.assign(size, 0);
    for (int32_t end = kGram; end < n_known; ++end) add(tokens, end);
  }
  for (int32_t end = std::max(n_known, kGram); end <= static_cast<int32_t>(tokens.size()); ++end)
    add(tokens, end);
}

LookupIndex::Match LookupIndex::find(std::span<const TokenId> tokens) {
  const auto size = static_cast<int32_t>(tokens.size());
  if (size < kGram) return {};
  grow(tokens);
  const auto at = [&](int32_t i) { return tokens[static_cast<size_t>(i)]; };
  Match best;
  int n_tried = 0;
  for (int32_t end = before_[static_cast<size_t>(size)]; end > 0 && n_tried < kMostTried;
       end = before_[static_cast<size_t>(end)], ++n_tried) {
    int32_t n = 0;
    while (n < kMostMatched && n < end && at(end - 1 - n) == at(size - 1 - n)) ++n;
    if (n < kGram || n <= best.n_matched) continue;
    best = {.n_matched = n, .next = end};
    if (n == kMostMatched) break;
  }
  return best;
}

// The length of a match says how sure it is.
int32_t class_of_match(int32_t n_matched) {
  constexpr int32_t kFrom[] = {3, 4, 6, 10, 20};
  static_assert(kDraftClasses == 2 * (std::size(kFrom) + 1));
  return static_cast<int32_t>(std::ranges::upper_bound(kFrom, n_matched) - kFrom);
}

void LookupDrafter::guess(std::span<Draft* const> drafts, double /*spare*/) {
  for (Draft* draft : drafts) {
    const std::vector<TokenId>& tokens = draft->sequence->tokens;
    const LookupIndex::Match match = indices_[draft->sequence->id.v].find(tokens);
    if (match.n_matched == 0) continue;
    // What it ends with may go on in itself: "ha ha ha" by more of the same.
    const auto period = static_cast<int32_t>(tokens.size()) - match.next;
    for (int32_t i = 0; i < draft->most; ++i)
      draft->push(tokens[static_cast<size_t>(match.next + i % period)],
                  class_of_match(match.n_matched));
  }
}

}  // namespace farthing
