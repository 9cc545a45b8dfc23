// Owns: the bytes of every KVBlock. Does not know: which blocks are in use (kv_pool.h), what a
// token is. Layout: block by block, so that the pages of blocks that were never used never come in,
// huge as they are; within a block layer by layer, of each first K, then V, by heads: what one KV
// head needs of a block is one contiguous plane. How positions lie in a plane is the kernels'
// choice (kernels/kv_type.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "core/block_table.h"

namespace farthing {

// Of one layer.
struct KVShape {
  int32_t n_heads = 0;        // that K and V have
  int64_t k_plane_bytes = 0;  // of one head in one block
  int64_t v_plane_bytes = 0;

  int64_t block_bytes() const { return n_heads * (k_plane_bytes + v_plane_bytes); }
};

class KVStore {
 public:
  KVStore() = default;
  // One shape per layer. The memory is reserved here and comes in as it is used.
  static Result<KVStore> create(std::vector<KVShape> layers, int32_t n_blocks);
  static int64_t bytes_needed(const std::vector<KVShape>& layers, int32_t n_blocks);

  // K or V of one head in block 0; the same in block b is b * block_stride() bytes on.
  std::byte* k_plane(int32_t layer, int32_t head) const;
  std::byte* v_plane(int32_t layer, int32_t head) const;
  int64_t block_stride() const { return block_stride_; }
  // All layers' K and V.
  void copy_block(BlockId from, BlockId to);
  int64_t size_bytes() const { return static_cast<int64_t>(buffer_.size()); }

 private:
  std::vector<KVShape> layers_;
  std::vector<int64_t> offsets_;  // bytes, of each layer within a block
  int64_t block_stride_ = 0;
  Buffer buffer_;
};

}  // namespace farthing
