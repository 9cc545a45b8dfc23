#include "kernels/simd/v256.h"
// clang-format off: the vocabulary comes first
#include "kernels/simd/peak.h"
#include "kernels/simd/isa_kernels.h"
// clang-format on

namespace farthing {

constinit const PeakKernels kAvx2Peak = PeakLoops<V256>::kFns;

}  // namespace farthing
