#include "kernels/ref/ref.h"

namespace farthing {
namespace {

KernelTable make_table() {
  KernelTable table;
  table.isa = Isa::kRef;
  for (const Format& f : all_formats()) {
    const size_t i = static_cast<size_t>(f.type);
    table.act_format[i] = ActFormat::kF32;
    table.matmul[i] = ref_matmul(f.type);
  }
  table.pack_q8_32 = ref_pack_q8_32;
  for (KVType type : kKVTypes) {
    const size_t i = static_cast<size_t>(type);
    table.store_k[i] = ref_store_k(type);
    table.store_v[i] = ref_store_v(type);
  }
  table.attention = ref_attention();
  table.rope = ref_rope;
  table.rms_norm = ref_rms_norm;
  table.silu_mul = ref_silu_mul;
  table.gelu_mul = ref_gelu_mul;
  table.add = ref_add;
  table.soft_cap = ref_soft_cap;
  return table;
}

}  // namespace

const KernelTable& ref_kernels() {
  static const KernelTable table = make_table();
  return table;
}

}  // namespace farthing
