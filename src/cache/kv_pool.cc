#include "cache/kv_pool.h"

#include <utility>

#include "base/check.h"

namespace farthing {

Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), blocks_(std::exchange(other.blocks_, {})) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(blocks_, other.blocks_);
  return *this;
}

Lease::~Lease() {
  if (pool_ != nullptr) pool_->give_back(blocks_);
}

KVPool::KVPool(int32_t n_blocks) : n_blocks_(n_blocks) {
  CHECK(n_blocks >= 0);
  free_.reserve(static_cast<size_t>(n_blocks));
  for (int32_t i = n_blocks; i-- > 0;) free_.push_back(BlockId{static_cast<uint32_t>(i)});
}

std::optional<Lease> KVPool::lease(int32_t n) {
  if (n < 0 || n > n_free()) return std::nullopt;
  Lease out;
  out.pool_ = this;
  out.blocks_.assign(free_.rbegin(), free_.rbegin() + n);
  free_.resize(free_.size() - static_cast<size_t>(n));
  return out;
}

void KVPool::give_back(const BlockTable& blocks) {
  free_.insert(free_.end(), blocks.rbegin(), blocks.rend());
  CHECK(n_free() <= n_blocks_);
}

void KVPool::check_integrity() const {
  std::vector<bool> seen(static_cast<size_t>(n_blocks_), false);
  for (BlockId b : free_) {
    CHECK(b.v < static_cast<uint32_t>(n_blocks_));
    CHECK(!seen[b.v]);
    seen[b.v] = true;
  }
}

}  // namespace farthing
