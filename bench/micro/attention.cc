// Attention over stored keys and values: one token far into a sequence (decode), K and V coming
// from memory, and many tokens at a time (prefill), in the cache.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/kernel_table.h"
#include "micro/roofs.h"

namespace farthing::micro {
namespace {

struct Shape {
  const char* name;
  int32_t n_heads;  // query heads of one KV head
  int32_t head_dim;
};
constexpr Shape kShapes[] = {{"smollm2", 3, 64}, {"llama1b", 4, 64}, {"gemma270m", 4, 256}};

// K and V of many KV heads of one sequence, each in blocks of its own.
class Store {
 public:
  Store(const KernelTable& table,
        const Shape& shape,
        KVTypes types,
        int32_t n_positions,
        int64_t wanted_bytes)
      : head_dim_(shape.head_dim),
        k_bytes_(kv_k_plane(types.k, shape.head_dim).bytes),
        v_bytes_(kv_v_plane(types.v, shape.head_dim).bytes),
        n_blocks_(blocks_for(n_positions)) {
    const int64_t head_bytes = (k_bytes_ + v_bytes_) * n_blocks_;
    n_heads_ = std::max<int64_t>(kNeighbours, wanted_bytes / head_bytes);
    n_heads_ -= n_heads_ % kNeighbours;
    auto memory = Buffer::allocate(static_cast<size_t>(n_heads_ * head_bytes));
    CHECK(memory);
    memory_ = *std::move(memory);
    for (int32_t b = 0; b < n_blocks_; ++b) blocks_.push_back(BlockId{static_cast<uint32_t>(b)});
    const std::vector<float> x = random_floats(static_cast<size_t>(head_dim_) + 997, 3);
    for (int64_t head = 0; head < n_heads_; ++head) {
      for (int32_t p = 0; p < n_blocks_ * kKVBlockTokens; ++p) {
        const int64_t block = int64_t{p / kKVBlockTokens} * block_stride();
        const int32_t slot = p % kKVBlockTokens;
        const float* values = x.data() + (head * 31 + p * 7) % 997;
        table.store_k[static_cast<size_t>(types.k)](values, head_dim_, k(head) + block, slot);
        table.store_v[static_cast<size_t>(types.v)](values, head_dim_, v(head) + block, slot);
      }
    }
  }

  // As KVStore has them: some heads are neighbours in each block, first K of all, then V.
  std::byte* k(int64_t head) const { return layer(head) + head % kNeighbours * k_bytes_; }
  std::byte* v(int64_t head) const {
    return layer(head) + kNeighbours * k_bytes_ + head % kNeighbours * v_bytes_;
  }
  int64_t block_stride() const { return kNeighbours * (k_bytes_ + v_bytes_); }
  int64_t n_heads() const { return n_heads_; }
  double position_bytes() const {  // of a head
    return static_cast<double>(k_bytes_ + v_bytes_) / kKVBlockTokens;
  }
  const BlockId* blocks() const { return blocks_.data(); }

 private:
  static constexpr int64_t kNeighbours = 3;
  std::byte* layer(int64_t head) const {
    return memory_.data() + head / kNeighbours * n_blocks_ * block_stride();
  }

  int32_t head_dim_;
  int64_t k_bytes_, v_bytes_;
  int32_t n_blocks_;
  int64_t n_heads_ = 0;
  Buffer memory_;
  BlockTable blocks_;
};

void run(benchmark::State& state,
         Isa isa,
         const Shape& shape,
         KVTypes types,
         int32_t depth,
         int32_t n_rows) {
  const KernelTable& table = kernel_table(isa);
  const bool decode = n_rows == 1;
  const Store store(table, shape, types, depth + n_rows, decode ? kBeyondCaches : 0);
  const int64_t row = int64_t{shape.n_heads} * shape.head_dim;
  const std::vector<float> q = random_floats(static_cast<size_t>(n_rows * row), 5);
  std::vector<float> out(q.size());
  auto scratch = Buffer::allocate(sizeof(float) * static_cast<size_t>(attention_scratch_floats(
                                                      n_rows * shape.n_heads, shape.head_dim)));
  CHECK(scratch);
  AttentionTask task{.q = q.data(),
                     .q_stride = row,
                     .out = out.data(),
                     .out_stride = row,
                     .n_rows = n_rows,
                     .n_heads = shape.n_heads,
                     .head_dim = shape.head_dim,
                     .types = types,
                     .block_stride = store.block_stride(),
                     .blocks = store.blocks(),
                     .position = depth,
                     .scale = 0.125f,
                     .scratch = reinterpret_cast<float*>(scratch->data())};
  int64_t head = 0;
  double pairs = 0;  // of a query and a position it sees
  for (int32_t r = 0; r < n_rows; ++r) pairs += depth + r + 1;
  measure(state,
          isa,
          {.bytes = store.position_bytes() * (depth + n_rows),
           .operations = 4.0 * static_cast<double>(row) * pairs},
          Peak::kF32,
          decode,
          [&] {
            task.k_plane = store.k(head);
            task.v_plane = store.v(head);
            head = (head + 1) % store.n_heads();
            table.attention.rows(task);
          });
}

}  // namespace

void register_attention(Isa isa) {
  struct Case {
    const char* name;
    int32_t depth;
    int32_t n_rows;
  };
  constexpr Case kCases[] = {{"decode", 511, 1},
                             {"decode", 4095, 1},
                             {"decode", 7935, 1},
                             {"prefill", 0, 64},
                             {"prefill", 448, 64},
                             {"prefill", 4032, 64}};
  const KVTypes kTypes[] = {
      KVType::kF16, KVType::kInt8, KVType::kInt4, {KVType::kInt8, KVType::kInt4}};
  for (const Shape& shape : kShapes) {
    for (const Case& c : kCases) {
      for (const KVTypes types : kTypes) {
        benchmark::RegisterBenchmark(
            fmt::format("attention/{}/{}/{}/{}/depth:{}/rows:{}",
                        isa_name(isa),
                        shape.name,
                        kv_types_name(types),
                        c.name,
                        c.depth,
                        c.n_rows)
                .c_str(),
            [=](benchmark::State& state) { run(state, isa, shape, types, c.depth, c.n_rows); });
      }
    }
  }
}

}  // namespace farthing::micro
