#include <cpuid.h>

#include <array>

#include "base/checked.h"
#include "kernels/act.h"
#include "kernels/isa.h"
#include "kernels/kernel_table.h"
#include "kernels/simd/isa_kernels.h"

namespace farthing {
namespace {

constexpr std::array<std::string_view, kIsaCount> kNames = {
    "ref", "avx2", "avxvnni", "avx512", "avx512vnni"};

struct CpuidLeaf {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidLeaf r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

constexpr bool bit(uint32_t word, int i) {
  return (word >> i & 1u) != 0;
}

// Which register states the kernel saves at a context switch (XCR0); 0 without XSAVE.
uint64_t enabled_states(const CpuidLeaf& leaf1) {
  if (!bit(leaf1.c, 27)) return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Bits as in the Intel SDM, volume 2A, table 3-8 (CPUID) and volume 1, section 13.3 (XCR0).
std::array<bool, kIsaCount> detect() {
  std::array<bool, kIsaCount> has{};
  has[static_cast<size_t>(Isa::kRef)] = true;
  const CpuidLeaf leaf1 = cpuid(1, 0);
  const CpuidLeaf leaf7 = cpuid(7, 0);
  const CpuidLeaf leaf7_1 = leaf7.a >= 1 ? cpuid(7, 1) : CpuidLeaf{};
  const uint64_t states = enabled_states(leaf1);
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;

  const bool avx2 = (states & kYmm) == kYmm && bit(leaf1.c, 28) && bit(leaf7.b, 5) &&
                    bit(leaf1.c, 12) && bit(leaf1.c, 29);  // AVX, AVX2, FMA, F16C
  const bool avx512 = avx2 && (states & kZmm) == kZmm && bit(leaf7.b, 16) && bit(leaf7.b, 17) &&
                      bit(leaf7.b, 30) && bit(leaf7.b, 31);  // F, DQ, BW, VL
  has[static_cast<size_t>(Isa::kAvx2)] = avx2;
  has[static_cast<size_t>(Isa::kAvxVnni)] = avx2 && bit(leaf7_1.a, 4);
  has[static_cast<size_t>(Isa::kAvx512)] = avx512;
  has[static_cast<size_t>(Isa::kAvx512Vnni)] = avx512 && bit(leaf7.c, 11);
  return has;
}

// Intel's first cache has room for few requests: streaming Q4_0 with two threads reaches 0.95 of a
// plain read with both distances, 0.80 without the far one (Emerald Rapids). AMD's gets slower by
// it: 0.95, and 0.97 to 1.0 without (Zen 5; Q4_K 0.90 and 0.96).
int64_t far_prefetch() {
  const CpuidLeaf leaf0 = cpuid(0, 0);
  const bool intel = leaf0.b == signature_INTEL_ebx && leaf0.d == signature_INTEL_edx;
  return intel ? 16384 : 0;
}

KernelTable make_table(Isa isa, const MatmulFns& matmul, const RowFns& rows) {
  KernelTable table;
  table.isa = isa;
  for (const Format& f : all_formats()) {
    const size_t i = static_cast<size_t>(f.type);
    table.act_format[i] = has_float_values(f.type) ? ActFormat::kF32 : ActFormat::kQ8_32;
    table.matmul[i] = matmul.of[i];
  }
  table.far = far_prefetch();
  table.pack_q8_32 = rows.pack_q8_32;
  for (size_t i = 0; i < kKVTypeCount; ++i) {
    table.store_k[i] = rows.store_k[i];
    table.store_v[i] = rows.store_v[i];
  }
  table.attention = rows.attention;
  table.rope = rows.rope;
  table.rms_norm = rows.rms_norm;
  table.silu_mul = rows.silu_mul;
  table.gelu_mul = rows.gelu_mul;
  table.add = rows.add;
  table.soft_cap = rows.soft_cap;
  return table;
}

}  // namespace

std::string_view isa_name(Isa isa) {
  return kNames[static_cast<size_t>(isa)];
}

std::optional<Isa> isa_from_name(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Isa>(i);
  }
  return std::nullopt;
}

std::vector<Isa> supported_isas() {
  static const std::array<bool, kIsaCount> has = detect();
  std::vector<Isa> isas;
  for (size_t i = 0; i < has.size(); ++i) {
    if (has[i]) isas.push_back(static_cast<Isa>(i));
  }
  return isas;
}

Isa best_isa() {
  return supported_isas().back();
}

const KernelTable& kernel_table(Isa isa) {
  static const std::array<KernelTable, kIsaCount> tables = {
      ref_kernels(),
      make_table(Isa::kAvx2, kAvx2Matmul, kAvx2Rows),
      make_table(Isa::kAvxVnni, kAvxVnniMatmul, kAvx2Rows),
      make_table(Isa::kAvx512, kAvx512Matmul, kAvx512Rows),
      make_table(Isa::kAvx512Vnni, kAvx512VnniMatmul, kAvx512Rows),
  };
  return tables[static_cast<size_t>(isa)];
}

const PeakKernels& peak_kernels(Isa isa) {
  const std::array<const PeakKernels*, kIsaCount> tables = {
      &ref_peak_kernels(), &kAvx2Peak, &kAvxVnniPeak, &kAvx512Peak, &kAvx512VnniPeak};
  return *tables[static_cast<size_t>(isa)];
}

}  // namespace farthing
