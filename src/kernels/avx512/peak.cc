#include "kernels/simd/v512.h"
// clang-format off: the vocabulary comes first
#include "kernels/simd/peak.h"
#include "kernels/simd/isa_kernels.h"
// clang-format on

namespace farthing {

constinit const PeakKernels kAvx512Peak = PeakLoops<V512>::kFns;

}  // namespace farthing
