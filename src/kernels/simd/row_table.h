// All kernels of an Isa but the matmuls.
#pragma once

#include "kernels/simd/attention.h"
#include "kernels/simd/isa_kernels.h"
#include "kernels/simd/kv_quantise.h"
#include "kernels/simd/rows.h"

namespace farthing {
namespace {

template <class V>
struct RowTable {
  static constexpr RowFns kFns = {
      .pack_q8_32 = RowKernels<V>::pack_q8_32,
      .store_k = {RowKernels<V>::template store_column<uint32_t, RowKernels<V>::store_f32>,
                  RowKernels<V>::template store_column<uint16_t, RowKernels<V>::store_f16>,
                  RowKernels<V>::template store_column<uint16_t, RowKernels<V>::store_bf16>,
                  KVQuantise<V, KVType::kInt8>::store_k,
                  KVQuantise<V, KVType::kInt4>::store_k},
      .store_v = {RowKernels<V>::template store_row<4, RowKernels<V>::store_f32>,
                  RowKernels<V>::template store_row<2, RowKernels<V>::store_f16>,
                  RowKernels<V>::template store_row<2, RowKernels<V>::store_bf16>,
                  KVQuantise<V, KVType::kInt8>::store_v,
                  KVQuantise<V, KVType::kInt4>::store_v},
      .attention = Attention<V>::kFns,
      .rope = RowKernels<V>::rope,
      .rms_norm = RowKernels<V>::rms_norm,
      .silu_mul = RowKernels<V>::silu_mul,
      .gelu_mul = RowKernels<V>::gelu_mul,
      .add = RowKernels<V>::add,
      .soft_cap = RowKernels<V>::soft_cap,
  };
};

}  // namespace
}  // namespace farthing
