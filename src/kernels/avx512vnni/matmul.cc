#include "kernels/simd/v512.h"
// clang-format off: the vocabulary comes first
#include "kernels/simd/matmul_table.h"
// clang-format on

namespace farthing {

constinit const MatmulFns kAvx512VnniMatmul = MatmulRow<V512>::kFns;

}  // namespace farthing
