#include "kernels/simd/v512.h"
// clang-format off: the vocabulary comes first
#include "kernels/simd/row_table.h"
// clang-format on

namespace farthing {

constinit const RowFns kAvx512Rows = RowTable<V512>::kFns;

}  // namespace farthing
