// KernelTable: every kernel's signature on one page. One table per Isa, chosen once
// (kernels/dispatch.cc). Raw pointers live in this folder only; callers hold views and buffers.
//
// Exactness (architecture, decision 8): a result depends on its own inputs and its position, never
// on how many tokens, rows or sequences are computed beside it. So: each output of matmul is one
// reduction over k in an order fixed by k alone; attention's order: kernels/attention_task.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/attention_task.h"
#include "kernels/isa.h"
#include "quant/format.h"

namespace farthing {

// How activations are laid out for a matmul with weights of a given type (kernels/act.h).
enum class ActFormat : uint8_t {
  kF32,    // as they are
  kQ8_32,  // int8 in groups of 32 with an f32 scale and sums, in blocks of tokens
};

// out[t][r] = sum_k weight[r][k] * act[t][k] for the rows of tiles [tile_begin, tile_end) and t in
// [0, n_tokens); added to what out holds if `accumulate`.
struct MatmulTask {
  const std::byte* tiles;  // tile 0 of the matrix (quant/tile.h)
  int64_t rows, cols;      // of the matrix
  const std::byte* act;    // token 0, in the ActFormat of the weight type
  int64_t act_stride;      // kF32 only: bytes from token to token
  int32_t n_tokens;
  float* out;          // [n_tokens][out_stride]
  int64_t out_stride;  // in floats
  int64_t tile_begin;
  int64_t tile_end;
  bool accumulate;
  int64_t far;  // KernelTable::far; 0 does as well
};

// From this many tokens on, matmul doesn't accumulate fast: simd/panel_matmul.h takes k in parts.
inline constexpr int32_t kManyTokens = 64;

struct KernelTable {
  Isa isa = Isa::kRef;

  // Weights.
  std::array<ActFormat, kDTypeCount> act_format{};
  std::array<void (*)(const MatmulTask&), kDTypeCount> matmul{};
  // So many bytes ahead of the weights at hand, a kernel for few tokens asks for more into L2,
  // besides what it asks for into L1; 0: it doesn't. What pays is the processor's (dispatch.cc).
  int64_t far = 0;
  // One token's `cols` floats (a multiple of 32) to kQ8_32 groups, group_stride bytes apart.
  void (*pack_q8_32)(const float* x, int64_t cols, std::byte* out, int64_t group_stride) = nullptr;

  // KV cache: one head's values of the position in this slot, in the KV type, to their places in a
  // block's K or V plane (kv_type.h); and attention over those of any two types.
  std::array<StoreKVFn, kKVTypeCount> store_k{};
  std::array<StoreKVFn, kKVTypeCount> store_v{};
  AttentionKernels attention{};
  // Rotates pairs of x in place by angles with these cosines and sines: (0, 1), (2, 3), ... if
  // adjacent, else (0, n_pairs), (1, n_pairs + 1), ...
  void (*rope)(const float* cos, const float* sin, int64_t n_pairs, bool adjacent, float* x) =
      nullptr;

  // Rows of n floats.
  void (*rms_norm)(const float* x, const float* gain, int64_t n, float eps, float* out) = nullptr;
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out) = nullptr;
  void (*gelu_mul)(const float* gate,
                   const float* up,
                   int64_t n,
                   float* out) = nullptr;  // tanh form
  void (*add)(const float* x, int64_t n, float* inout) = nullptr;
  // cap * tanh(x / cap), cap > 0 (Gemma 2, arXiv:2408.00118).
  void (*soft_cap)(float cap, int64_t n, float* inout) = nullptr;
};

// The table of an Isa that supported_isas() lists.
const KernelTable& kernel_table(Isa isa);

// kernels/ref: the slow twin of everything.
const KernelTable& ref_kernels();

}  // namespace farthing
