#include "kernels/simd/v256.h"
// clang-format off: the vocabulary comes first
#include "kernels/simd/row_table.h"
// clang-format on

namespace farthing {

constinit const RowFns kAvx2Rows = RowTable<V256>::kFns;

}  // namespace farthing
