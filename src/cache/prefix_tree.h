// Owns: which tokens the blocks of a pool store, as a tree: a path from the root is a token
// sequence, cut into blocks. Sequences that begin alike share the blocks of their common prefix
// while they run and find them again later. Does not know: requests, bytes, time.
//
// A node is a block: kKVBlockTokens tokens, or fewer if it is the last of its sequence. Whoever
// leases a node's block leases those of all nodes above it. A stored position never changes, so a
// block may be copied (copy on write) while another sequence still writes behind the copied
// positions.
//
// Lookups are by a keyed hash of the path, and then compare the tokens: a collision costs time,
// never correctness. Sequences with different salts share nothing and can't learn of each other.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/kv_pool.h"
#include "core/cache_miss.h"
#include "core/cache_salt.h"

namespace farthing {

class PrefixTree {
 public:
  // The pool outlives the tree. `key` of the hash: any random number.
  PrefixTree(KVPool& pool, uint64_t key);

  // How far the tree knows a sequence: its first n_tokens, of which the last stands in `node`.
  struct Path {
    uint32_t node = kRoot;
    int32_t n_tokens = 0;
  };

  struct Match {
    Lease blocks;  // whole ones, which store the first tokens
    Lease source;  // empty or one block, whose first n_copied positions store what comes next
    int32_t n_copied = 0;
    Path path;  // at the end of `blocks`
    CacheMiss miss = CacheMiss::kNone;

    int32_t n_tokens() const { return path.n_tokens + n_copied; }
  };
  Match match(CacheSalt salt, std::span<const TokenId> tokens);
  // What match() would find, without taking it.
  int32_t n_stored(CacheSalt salt, std::span<const TokenId> tokens) const;

  // The sequence at `path` has stored its first n_stored tokens in the blocks of its lease. A block
  // that turns out to store the same as one in the tree is given back for that one. True if so: the
  // lease's blocks have changed.
  bool store(
      CacheSalt salt, Path& path, std::span<const TokenId> tokens, int32_t n_stored, Lease& lease);

  // Makes n blocks of the pool free, taking those that were idle longest; false, with what could be
  // freed freed, if there aren't so many.
  bool make_free(int32_t n);

  int64_t n_evicted() const { return n_evicted_; }  // blocks so far
  void check_integrity() const;

 private:
  static constexpr uint32_t kRoot = UINT32_MAX;
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {  // of block i: nodes_[i]
    std::array<TokenId, kKVBlockTokens> tokens;
    int32_t n_tokens = 0;  // 0: not in the tree
    uint32_t parent = kRoot;
    uint32_t first_child = kNone;
    uint32_t next = kNone, previous = kNone;  // siblings
    uint64_t hash = 0;  // of the path to its end, if whole; else of the path to its begin
    CacheSalt salt;
  };

  struct SaltHash {
    size_t operator()(const CacheSalt& salt) const {
      return static_cast<size_t>(salt.high * 0x9e3779b97f4a7c15u ^ salt.low);
    }
  };
  struct Walk {
    BlockTable blocks;        // whole ones
    uint32_t source = kNone;  // whose first n_copied positions come next
    int32_t n_copied = 0;
    Path path;
    CacheMiss miss = CacheMiss::kNone;
  };
  Walk walk(CacheSalt salt, std::span<const TokenId> tokens) const;
  uint32_t first_child(CacheSalt salt, uint32_t node) const;
  void set_first_child(CacheSalt salt, uint32_t node, uint32_t child);
  uint64_t start_hash(CacheSalt salt) const;
  uint64_t hash_on(uint64_t hash, std::span<const TokenId> tokens) const;
  uint64_t path_hash(CacheSalt salt, uint32_t node) const;
  // The whole node of these tokens below `parent`, or kNone.
  uint32_t find(CacheSalt salt,
                uint32_t parent,
                uint64_t hash,
                std::span<const TokenId> tokens) const;
  void link(uint32_t node, uint32_t parent);
  void unlink(uint32_t node);
  void evict(uint32_t node);

  KVPool& pool_;
  uint64_t key_;
  std::vector<Node> nodes_;
  std::unordered_map<CacheSalt, uint32_t, SaltHash> first_of_root_;
  std::unordered_multimap<uint64_t, uint32_t> whole_;  // nodes by hash
  // Hashes of whole nodes that were evicted lately.
  std::unordered_multiset<uint64_t> evicted_;
  std::deque<uint64_t> evicted_order_;
  int64_t n_evicted_ = 0;
};

}  // namespace farthing
