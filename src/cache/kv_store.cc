#include "cache/kv_store.h"

#include <utility>

namespace farthing {

int64_t KVStore::bytes_needed(const std::vector<KVShape>& layers,
                              int64_t element_bytes,
                              int32_t n_blocks) {
  int64_t bytes = 0;
  for (const KVShape& shape : layers) bytes += 2 * shape.plane_bytes(element_bytes) * n_blocks;
  return bytes;
}

Result<KVStore> KVStore::create(std::vector<KVShape> layers,
                                int64_t element_bytes,
                                int32_t n_blocks) {
  KVStore store;
  store.element_bytes_ = element_bytes;
  int64_t offset = 0;
  for (const KVShape& shape : layers) {
    store.offsets_.push_back(offset);
    offset += 2 * shape.plane_bytes(element_bytes) * n_blocks;
  }
  store.layers_ = std::move(layers);
  FARTHING_TRY(store.buffer_, Buffer::allocate(static_cast<size_t>(offset)));
  return store;
}

std::byte* KVStore::k_plane(int32_t layer, int32_t head) const {
  const KVShape& shape = layers_[layer];
  return buffer_.data() + offsets_[layer] +
         int64_t{head} * kKVBlockTokens * shape.head_dim * element_bytes_;
}

std::byte* KVStore::v_plane(int32_t layer, int32_t head) const {
  return k_plane(layer, head) + layers_[layer].plane_bytes(element_bytes_);
}

}  // namespace farthing
