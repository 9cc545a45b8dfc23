// Owns: who holds which KVBlock. Does not know: bytes (kv_store.h), tokens (prefix_tree.h),
// sequences, time.
// A block is free, leased by one or more leases, or idle: leased by none, but what it stores is
// kept for whoever asks for the same prefix. Invariant: free + leased + idle == total.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/block_table.h"

namespace farthing {

class KVPool;

// Move-only: a share in some blocks of a pool, each given back when it dies, the last one first.
// The pool outlives its leases.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();

  const BlockTable& blocks() const { return blocks_; }
  void append(Lease&& more);
  // Block i becomes the only block of `other`.
  void replace(size_t i, Lease&& other);

 private:
  friend class KVPool;
  KVPool* pool_ = nullptr;
  BlockTable blocks_;
};

class KVPool {
 public:
  explicit KVPool(int32_t n_blocks);
  KVPool(const KVPool&) = delete;
  KVPool& operator=(const KVPool&) = delete;

  // n free blocks, or nullopt (and nothing taken) if there are fewer.
  std::optional<Lease> lease(int32_t n);
  // A further share in blocks that are leased or idle.
  Lease share(std::span<const BlockId> blocks);

  // A leased block that will be idle, not free, when its last lease ends.
  void keep(BlockId block);
  // The reverse: an idle block becomes free, a leased one will.
  void forget(BlockId block);
  // The idle block whose last lease ended first. Since a lease gives back its last block first,
  // what lies deeper in a sequence comes before what it stands on.
  std::optional<BlockId> oldest_idle() const;

  int32_t n_blocks() const { return static_cast<int32_t>(blocks_.size()); }
  int32_t n_free() const { return static_cast<int32_t>(free_.size()); }
  int32_t n_idle() const { return n_idle_; }
  int32_t n_leased() const { return n_blocks() - n_free() - n_idle_; }
  bool is_leased(BlockId block) const { return blocks_[block.v].n_leases > 0; }

  // Aborts if an invariant is broken; tests call it after every operation.
  void check_integrity() const;

 private:
  friend class Lease;
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Block {
    int32_t n_leases = 0;
    bool kept = false;
    uint32_t older = kNone, newer = kNone;  // in the list of idle blocks
  };

  void give_back(const BlockTable& blocks);
  void link_idle(uint32_t block);
  void unlink_idle(uint32_t block);

  std::vector<Block> blocks_;
  std::vector<BlockId> free_;  // last is next
  uint32_t oldest_ = kNone, newest_ = kNone;
  int32_t n_idle_ = 0;
};

}  // namespace farthing
