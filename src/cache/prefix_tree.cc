#include "cache/prefix_tree.h"

#include <xxhash.h>

#include <algorithm>

#include "base/check.h"

namespace farthing {
namespace {

// So many siblings are compared when no whole block fits.
constexpr int32_t kMostSiblings = 64;
constexpr size_t kRememberedEvictions = 8192;

int32_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const auto ends = std::ranges::mismatch(a, b);
  return static_cast<int32_t>(ends.in1 - a.begin());
}

}  // namespace

PrefixTree::PrefixTree(KVPool& pool, uint64_t key)
    : pool_(pool), key_(key), nodes_(static_cast<size_t>(pool.n_blocks())) {}

uint64_t PrefixTree::start_hash(CacheSalt salt) const {
  return XXH3_64bits_withSeed(&salt, sizeof(salt), key_);
}

uint64_t PrefixTree::hash_on(uint64_t hash, std::span<const TokenId> tokens) const {
  return XXH3_64bits_withSeed(tokens.data(), tokens.size_bytes(), hash);
}

uint64_t PrefixTree::path_hash(CacheSalt salt, uint32_t node) const {
  return node == kRoot ? start_hash(salt) : nodes_[node].hash;
}

uint32_t PrefixTree::find(CacheSalt salt,
                          uint32_t parent,
                          uint64_t hash,
                          std::span<const TokenId> tokens) const {
  const auto [begin, end] = whole_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Node& node = nodes_[it->second];
    if (node.parent == parent && node.salt == salt && std::ranges::equal(node.tokens, tokens)) {
      return it->second;
    }
  }
  return kNone;
}

PrefixTree::Walk PrefixTree::walk(CacheSalt salt, std::span<const TokenId> tokens) const {
  Walk walk;
  uint64_t hash = start_hash(salt);
  uint32_t& at = walk.path.node;
  while (tokens.size() >= kKVBlockTokens) {
    const auto block = tokens.first(kKVBlockTokens);
    const uint64_t next = hash_on(hash, block);
    const uint32_t node = find(salt, at, next, block);
    if (node == kNone) {
      walk.miss = evicted_.contains(next) ? CacheMiss::kEvicted : CacheMiss::kNoEntry;
      break;
    }
    walk.blocks.push_back(BlockId{node});
    at = node;
    hash = next;
    walk.path.n_tokens += kKVBlockTokens;
    tokens = tokens.subspan(kKVBlockTokens);
  }
  if (tokens.empty()) return walk;

  int32_t scanned = 0;
  for (uint32_t child = first_child(salt, at); child != kNone && scanned < kMostSiblings;
       child = nodes_[child].next, ++scanned) {
    const Node& node = nodes_[child];
    const auto stored = std::span(node.tokens).first(static_cast<size_t>(node.n_tokens));
    const int32_t n = common_prefix(stored, tokens);
    if (n <= walk.n_copied) continue;
    walk.n_copied = n;
    walk.source = child;
  }
  const bool all = walk.n_copied == static_cast<int32_t>(tokens.size());
  if (!all && walk.miss == CacheMiss::kNone) walk.miss = CacheMiss::kNoEntry;
  return walk;
}

PrefixTree::Match PrefixTree::match(CacheSalt salt, std::span<const TokenId> tokens) {
  const Walk found = walk(salt, tokens);
  Match match{.n_copied = found.n_copied, .path = found.path, .miss = found.miss};
  match.blocks = pool_.share(found.blocks);
  if (found.source != kNone) match.source = pool_.share(std::array{BlockId{found.source}});
  return match;
}

int32_t PrefixTree::n_stored(CacheSalt salt, std::span<const TokenId> tokens) const {
  const Walk found = walk(salt, tokens);
  return found.path.n_tokens + found.n_copied;
}

bool PrefixTree::store(
    CacheSalt salt, Path& path, std::span<const TokenId> tokens, int32_t n_stored, Lease& lease) {
  bool replaced = false;
  while (path.n_tokens < n_stored) {
    const auto i = static_cast<size_t>(path.n_tokens / kKVBlockTokens);
    const int32_t filled = path.n_tokens % kKVBlockTokens;
    const int32_t count = std::min(kKVBlockTokens - filled, n_stored - path.n_tokens);
    if (filled == 0) {
      const BlockId block = lease.blocks()[i];
      Node& made = nodes_[block.v];
      CHECK(made.n_tokens == 0);
      made.salt = salt;
      made.hash = path_hash(salt, path.node);
      link(block.v, path.node);
      pool_.keep(block);
      path.node = block.v;
    }
    const uint32_t at = path.node;
    Node& node = nodes_[at];
    const auto added =
        tokens.subspan(static_cast<size_t>(path.n_tokens), static_cast<size_t>(count));
    std::ranges::copy(added, node.tokens.begin() + filled);
    node.n_tokens += count;
    path.n_tokens += count;
    if (node.n_tokens < kKVBlockTokens) break;

    const uint64_t hash = hash_on(node.hash, node.tokens);
    const uint32_t same = find(salt, node.parent, hash, node.tokens);
    if (same == kNone) {
      node.hash = hash;
      whole_.emplace(hash, at);
      continue;
    }
    unlink(at);
    pool_.forget(BlockId{at});
    lease.replace(i, pool_.share(std::array{BlockId{same}}));
    path.node = same;
    replaced = true;
  }
  return replaced;
}

uint32_t PrefixTree::first_child(CacheSalt salt, uint32_t node) const {
  if (node != kRoot) return nodes_[node].first_child;
  const auto it = first_of_root_.find(salt);
  return it == first_of_root_.end() ? kNone : it->second;
}

void PrefixTree::set_first_child(CacheSalt salt, uint32_t node, uint32_t child) {
  if (node != kRoot) {
    nodes_[node].first_child = child;
  } else if (child == kNone) {
    first_of_root_.erase(salt);
  } else {
    first_of_root_[salt] = child;
  }
}

void PrefixTree::link(uint32_t i, uint32_t parent) {
  Node& node = nodes_[i];
  const uint32_t first = first_child(node.salt, parent);
  node.parent = parent;
  node.previous = kNone;
  node.next = first;
  if (first != kNone) nodes_[first].previous = i;
  set_first_child(node.salt, parent, i);
}

void PrefixTree::unlink(uint32_t i) {
  Node& node = nodes_[i];
  CHECK(node.first_child == kNone);
  if (node.previous == kNone) {
    set_first_child(node.salt, node.parent, node.next);
  } else {
    nodes_[node.previous].next = node.next;
  }
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
  node.n_tokens = 0;
}

bool PrefixTree::make_free(int32_t n) {
  while (pool_.n_free() < n) {
    const std::optional<BlockId> oldest = pool_.oldest_idle();
    if (!oldest) return false;
    evict(oldest->v);
  }
  return true;
}

// With all below it, which is idle too.
void PrefixTree::evict(uint32_t i) {
  while (nodes_[i].first_child != kNone) {
    uint32_t leaf = nodes_[i].first_child;
    while (nodes_[leaf].first_child != kNone) leaf = nodes_[leaf].first_child;
    evict(leaf);
  }
  const Node& node = nodes_[i];
  CHECK(!pool_.is_leased(BlockId{i}));
  if (node.n_tokens == kKVBlockTokens) {
    const auto [begin, end] = whole_.equal_range(node.hash);
    whole_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == i; }));
    evicted_.insert(node.hash);
    evicted_order_.push_back(node.hash);
    if (evicted_order_.size() > kRememberedEvictions) {
      evicted_.erase(evicted_.find(evicted_order_.front()));
      evicted_order_.pop_front();
    }
  }
  unlink(i);
  pool_.forget(BlockId{i});
  ++n_evicted_;
}

void PrefixTree::check_integrity() const {
  size_t n_whole = 0;
  int32_t n_kept_leased = 0;
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (node.n_tokens == 0) continue;
    CHECK(node.n_tokens <= kKVBlockTokens);
    const bool whole = node.n_tokens == kKVBlockTokens;
    n_whole += whole ? 1 : 0;
    n_kept_leased += pool_.is_leased(BlockId{i}) ? 1 : 0;
    CHECK(whole || node.first_child == kNone);
    if (node.parent != kRoot) {
      const Node& parent = nodes_[node.parent];
      CHECK(parent.n_tokens == kKVBlockTokens && parent.salt == node.salt);
      CHECK(!pool_.is_leased(BlockId{i}) || pool_.is_leased(BlockId{node.parent}));
    }
    if (whole) CHECK(find(node.salt, node.parent, node.hash, node.tokens) == i);
    const uint32_t first = first_child(node.salt, node.parent);
    CHECK(node.previous == kNone ? first == i : nodes_[node.previous].next == i);
    CHECK(node.next == kNone || nodes_[node.next].previous == i);
  }
  CHECK(n_whole == whole_.size());
  CHECK(evicted_.size() == evicted_order_.size());
  // Idle blocks are those of nodes that nobody leases.
  int32_t n_nodes = 0;
  for (const Node& node : nodes_) n_nodes += node.n_tokens > 0 ? 1 : 0;
  CHECK(n_nodes - n_kept_leased == pool_.n_idle());
}

}  // namespace farthing
