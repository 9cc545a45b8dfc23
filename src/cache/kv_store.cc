#include "cache/kv_store.h"

#include <cstring>
#include <utility>

namespace farthing {

int64_t KVStore::bytes_needed(const std::vector<KVShape>& layers, int32_t n_blocks) {
  int64_t bytes = 0;
  for (const KVShape& shape : layers) bytes += shape.block_bytes();
  return bytes * n_blocks;
}

Result<KVStore> KVStore::create(std::vector<KVShape> layers, int32_t n_blocks) {
  KVStore store;
  for (const KVShape& shape : layers) {
    store.offsets_.push_back(store.block_stride_);
    store.block_stride_ += shape.block_bytes();
  }
  store.layers_ = std::move(layers);
  FARTHING_TRY(store.buffer_,
               Buffer::allocate(static_cast<size_t>(store.block_stride_ * n_blocks)));
  return store;
}

std::byte* KVStore::k_plane(int32_t layer, int32_t head) const {
  return buffer_.data() + offsets_[layer] + head * layers_[layer].k_plane_bytes;
}

std::byte* KVStore::v_plane(int32_t layer, int32_t head) const {
  const KVShape& shape = layers_[layer];
  return k_plane(layer, shape.n_heads) + head * shape.v_plane_bytes;
}

void KVStore::copy_block(BlockId from, BlockId to) {
  std::memcpy(buffer_.data() + to.v * block_stride_,
              buffer_.data() + from.v * block_stride_,
              static_cast<size_t>(block_stride_));
}

}  // namespace farthing
