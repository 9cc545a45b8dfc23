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

void Lease::append(Lease&& more) {
  if (pool_ == nullptr) pool_ = more.pool_;
  CHECK(more.pool_ == nullptr || more.pool_ == pool_);
  blocks_.insert(blocks_.end(), more.blocks_.begin(), more.blocks_.end());
  more.blocks_.clear();
}

void Lease::replace(size_t i, Lease&& other) {
  CHECK(other.pool_ == pool_ && other.blocks_.size() == 1 && i < blocks_.size());
  std::swap(blocks_[i], other.blocks_[0]);
  Lease dies = std::move(other);
}

KVPool::KVPool(int32_t n_blocks) {
  CHECK(n_blocks >= 0);
  blocks_.resize(static_cast<size_t>(n_blocks));
  free_.reserve(static_cast<size_t>(n_blocks));
  for (int32_t i = n_blocks; i-- > 0;) free_.push_back(BlockId{static_cast<uint32_t>(i)});
}

std::optional<Lease> KVPool::lease(int32_t n) {
  if (n < 0 || n > n_free()) return std::nullopt;
  Lease out;
  out.pool_ = this;
  out.blocks_.assign(free_.rbegin(), free_.rbegin() + n);
  free_.resize(free_.size() - static_cast<size_t>(n));
  for (BlockId b : out.blocks_) blocks_[b.v].n_leases = 1;
  return out;
}

Lease KVPool::share(std::span<const BlockId> blocks) {
  Lease out;
  out.pool_ = this;
  out.blocks_.assign(blocks.begin(), blocks.end());
  for (BlockId b : blocks) {
    Block& block = blocks_[b.v];
    CHECK(block.n_leases > 0 || block.kept);
    if (block.n_leases++ == 0) unlink_idle(b.v);
  }
  return out;
}

void KVPool::keep(BlockId b) {
  CHECK(is_leased(b));
  blocks_[b.v].kept = true;
}

void KVPool::forget(BlockId b) {
  Block& block = blocks_[b.v];
  CHECK(block.kept);
  block.kept = false;
  if (block.n_leases > 0) return;
  unlink_idle(b.v);
  free_.push_back(b);
}

std::optional<BlockId> KVPool::oldest_idle() const {
  if (oldest_ == kNone) return std::nullopt;
  return BlockId{oldest_};
}

void KVPool::give_back(const BlockTable& blocks) {
  for (size_t i = blocks.size(); i-- > 0;) {
    const BlockId b = blocks[i];
    Block& block = blocks_[b.v];
    CHECK(block.n_leases > 0);
    if (--block.n_leases > 0) continue;
    if (block.kept) {
      link_idle(b.v);
    } else {
      free_.push_back(b);
    }
  }
}

void KVPool::link_idle(uint32_t b) {
  blocks_[b].older = newest_;
  blocks_[b].newer = kNone;
  (newest_ == kNone ? oldest_ : blocks_[newest_].newer) = b;
  newest_ = b;
  ++n_idle_;
}

void KVPool::unlink_idle(uint32_t b) {
  const Block& block = blocks_[b];
  (block.older == kNone ? oldest_ : blocks_[block.older].newer) = block.newer;
  (block.newer == kNone ? newest_ : blocks_[block.newer].older) = block.older;
  --n_idle_;
}

void KVPool::check_integrity() const {
  std::vector<bool> seen(blocks_.size(), false);
  const auto see = [&](uint32_t b) {
    CHECK(b < blocks_.size() && !seen[b] && blocks_[b].n_leases == 0);
    seen[b] = true;
  };
  for (BlockId b : free_) {
    see(b.v);
    CHECK(!blocks_[b.v].kept);
  }
  int32_t n_idle = 0;
  for (uint32_t b = oldest_; b != kNone; b = blocks_[b].newer) {
    see(b);
    CHECK(blocks_[b].kept);
    CHECK(blocks_[b].newer != kNone || newest_ == b);
    ++n_idle;
  }
  CHECK(n_idle == n_idle_);
  for (size_t b = 0; b < blocks_.size(); ++b) CHECK(seen[b] == (blocks_[b].n_leases == 0));
}

}  // namespace farthing
