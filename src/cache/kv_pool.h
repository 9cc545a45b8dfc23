// Owns: which KVBlocks are free. Does not know: bytes, tensors, sequences, time. (kv_store.h has
// the bytes.) Invariant: free + leased == total; a block is leased at most once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/block_table.h"

namespace farthing {

class KVPool;

// Move-only: blocks taken from a pool; they go back when it dies. The pool outlives its leases.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();

  const BlockTable& blocks() const { return blocks_; }

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

  // n blocks, or nullopt (and nothing taken) if fewer are free.
  std::optional<Lease> lease(int32_t n);

  int32_t n_blocks() const { return n_blocks_; }
  int32_t n_free() const { return static_cast<int32_t>(free_.size()); }
  int32_t n_leased() const { return n_blocks_ - n_free(); }

  // Aborts if the invariant is broken; tests call it after every operation.
  void check_integrity() const;

 private:
  friend class Lease;
  void give_back(const BlockTable& blocks);

  int32_t n_blocks_;
  std::vector<BlockId> free_;  // last is next
};

}  // namespace farthing
