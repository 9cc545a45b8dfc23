// What each Isa's folder exports: constants full of function pointers, and no other symbol.
// dispatch.cc makes KernelTables of them; code compiled for one Isa must not build such a table
// itself, because inline functions of the standard library would be compiled into its object and
// chosen by the linker for everybody.
#pragma once

#include "kernels/kernel_table.h"
#include "kernels/peak.h"

namespace farthing {

struct MatmulFns {
  void (*of[kDTypeCount])(const MatmulTask&);
};

struct RowFns {
  void (*pack_q8_32)(const float* x, int64_t cols, std::byte* out, int64_t group_stride);
  StoreKVFn store_k[kKVTypeCount];
  StoreKVFn store_v[kKVTypeCount];
  AttentionKernels attention;
  void (*rope)(const float* cos, const float* sin, int64_t n_pairs, bool adjacent, float* x);
  void (*rms_norm)(const float* x, const float* gain, int64_t n, float eps, float* out);
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  void (*gelu_mul)(const float* gate, const float* up, int64_t n, float* out);
  void (*add)(const float* x, int64_t n, float* inout);
  void (*soft_cap)(float cap, int64_t n, float* inout);
};

extern const MatmulFns kAvx2Matmul, kAvxVnniMatmul, kAvx512Matmul, kAvx512VnniMatmul;
extern const PeakKernels kAvx2Peak, kAvxVnniPeak, kAvx512Peak, kAvx512VnniPeak;
extern const RowFns kAvx2Rows, kAvx512Rows;  // shared with their VNNI variants

}  // namespace farthing
