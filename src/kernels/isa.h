// Instruction sets that kernels exist for, best last; chosen once at start by CPUID and XGETBV, or
// by --isa.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace farthing {

enum class Isa : uint8_t { kRef, kAvx2, kAvxVnni, kAvx512, kAvx512Vnni };
inline constexpr size_t kIsaCount = 5;

std::string_view isa_name(Isa isa);  // "avx512vnni"
std::optional<Isa> isa_from_name(std::string_view name);
std::vector<Isa> supported_isas();  // of this CPU and kernel, best last; always has kRef
Isa best_isa();

}  // namespace farthing
