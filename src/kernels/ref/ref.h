// The slow twin of every kernel: plain loops in f32, one thing per line, nothing clever. The other
// tables are tested against these, and any entry another table lacks is served by them.
#pragma once

#include "kernels/kernel_table.h"

namespace farthing {

// matmul.cc: the rows of weights decoded to f32, activations in f32.
using MatmulFn = void (*)(const MatmulTask&);
MatmulFn ref_matmul(DType type);

// act.cc
void ref_pack_q8_32(const float* x, int64_t cols, std::byte* out, int64_t group_stride);

// attention.cc
StoreKVFn ref_store_k(KVType type);
StoreKVFn ref_store_v(KVType type);
AttentionKernels ref_attention();

// rows.cc
void ref_rms_norm(const float* x, const float* gain, int64_t n, float eps, float* out);
void ref_silu_mul(const float* gate, const float* up, int64_t n, float* out);
void ref_gelu_mul(const float* gate, const float* up, int64_t n, float* out);
void ref_rope(const float* cos, const float* sin, int64_t n_pairs, bool adjacent, float* x);
void ref_add(const float* x, int64_t n, float* inout);
void ref_soft_cap(float cap, int64_t n, float* inout);

}  // namespace farthing
