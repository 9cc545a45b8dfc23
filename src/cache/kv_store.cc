#include "cache/kv_store.h"

#include <cstring>
#include <utility>

namespace farthing {

int64_t KVStore::bytes_needed(const std::vector<KVShape>& layers, int32_t n_blocks) {
  int64_t bytes = 0;
  for (const KVShape& shape : layers) bytes += shape.block_bytes() * n_blocks;
  return bytes;
}

Result<KVStore> KVStore::create(std::vector<KVShape> layers, int32_t n_blocks) {
  KVStore store;
  int64_t offset = 0;
  for (const KVShape& shape : layers) {
    store.offsets_.push_back(offset);
    offset += shape.block_bytes() * n_blocks;
  }
  store.layers_ = std::move(layers);
  FARTHING_TRY(store.buffer_, Buffer::allocate(static_cast<size_t>(offset)));
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
  for (size_t i = 0; i < layers_.size(); ++i) {
    const int64_t stride = layers_[i].block_bytes();
    std::byte* base = buffer_.data() + offsets_[i];
    std::memcpy(base + to.v * stride, base + from.v * stride, static_cast<size_t>(stride));
  }
}

}  // namespace farthing
