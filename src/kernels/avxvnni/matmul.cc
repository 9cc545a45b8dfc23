#include "kernels/simd/v256.h"
// clang-format off: the vocabulary comes first
#include "kernels/simd/matmul_table.h"
// clang-format on

namespace farthing {

constinit const MatmulFns kAvxVnniMatmul = MatmulRow<V256>::kFns;

}  // namespace farthing
