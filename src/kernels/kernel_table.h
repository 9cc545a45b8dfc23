// KernelTable: every kernel's signature on one page. One table per Isa, chosen once
// (kernels/dispatch.cc). Raw pointers live in this folder only; callers hold views and buffers.
//
// Exactness (architecture, decision 8): a result depends on its own inputs and its position, never
// on how many tokens, rows or sequences are computed beside it. So: each output of matmul is one
// reduction over k in an order fixed by k alone; attention reduces over absolute positions in
// blocks of kKVBlockTokens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/block_table.h"
#include "kernels/isa.h"
#include "quant/format.h"

namespace farthing {

// How activations are laid out for a matmul with weights of a given type (kernels/act.h).
enum class ActFormat : uint8_t {
  kF32,    // as they are
  kQ8_32,  // int8 in groups of 32 with an f32 scale (amax / 127) and the sums of the group and its
           // halves
};
inline constexpr size_t kActFormatCount = 2;

// out[t][r] = sum_k weight[r][k] * act[t][k] for r in [row_begin, row_end), t in [0, n_tokens).
struct MatmulTask {
  const std::byte* weights;  // row 0
  int64_t row_bytes;
  int64_t cols;          // k
  const std::byte* act;  // token 0, in the ActFormat of the weight type
  int64_t act_stride;    // bytes from token to token
  int32_t n_tokens;
  float* out;          // [n_tokens][out_stride]
  int64_t out_stride;  // in floats
  int64_t row_begin;
  int64_t row_end;
};

// Attention of the query heads that share one KV head, for one token at `position`: over the stored
// positions [begin, position]. Scores are scale * q.k, soft-capped if softcap > 0 (cap * tanh(s /
// cap)).
struct AttentionTask {
  const float* q;  // [n_heads][head_dim], q_stride floats apart
  int64_t q_stride;
  float* out;  // [n_heads][head_dim], out_stride floats apart
  int64_t out_stride;
  int32_t n_heads;           // query heads of this KV head
  int32_t head_dim;          // of K and V; <= 512
  const std::byte* k_plane;  // this layer's and head's K of block 0: [kKVBlockTokens][head_dim]
  const std::byte* v_plane;
  int64_t block_stride;   // bytes from block to block
  const BlockId* blocks;  // the sequence's block table
  int32_t begin;          // first position seen (sliding window)
  int32_t position;       // the query's own position: the last one seen
  float scale;
  float softcap;
  float* scratch;  // attention_naive only: [position + 1] floats
};

enum class KVType : uint8_t { kF32, kF16, kBF16 };
inline constexpr size_t kKVTypeCount = 3;

struct KernelTable {
  Isa isa = Isa::kRef;

  // Weights.
  std::array<ActFormat, kDTypeCount> act_format{};
  std::array<void (*)(const MatmulTask&), kDTypeCount> matmul{};
  // One token: cols floats -> its ActFormat. cols is a multiple of the format's group.
  std::array<void (*)(const float* x, int64_t cols, std::byte* out), kActFormatCount> pack_act{};

  // KV cache: n floats -> the KV type, and attention over it.
  std::array<void (*)(const float* x, int64_t n, std::byte* out), kKVTypeCount> store_kv{};
  std::array<void (*)(const AttentionTask&), kKVTypeCount>
      attention{};  // online softmax, block by block
  std::array<void (*)(const AttentionTask&), kKVTypeCount>
      attention_naive{};  // all scores, then softmax

  // Rows of n floats.
  void (*rms_norm)(const float* x, const float* gain, int64_t n, float eps, float* out) = nullptr;
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out) = nullptr;
  void (*gelu_mul)(const float* gate,
                   const float* up,
                   int64_t n,
                   float* out) = nullptr;  // tanh form
  void (*add)(const float* x, int64_t n, float* inout) = nullptr;
};

// Bytes of one token of `cols` activations (a multiple of 64).
int64_t act_bytes(ActFormat format, int64_t cols);

// The table of an Isa that supported_isas() lists.
const KernelTable& kernel_table(Isa isa);

// kernels/ref: the slow twin of everything; also what other tables fall back on.
const KernelTable& ref_kernels();

}  // namespace farthing
