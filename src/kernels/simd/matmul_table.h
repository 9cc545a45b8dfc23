// The matmul row of a KernelTable, in the order of DType.
#pragma once

#include "kernels/simd/float_matmul.h"
#include "kernels/simd/isa_kernels.h"
#include "kernels/simd/tile_formats.h"
#include "kernels/simd/tile_matmul.h"

namespace farthing {
namespace {

template <class V>
struct MatmulRow {
  static constexpr MatmulFns kFns = {{
      FloatMatmul<V, PlainF32>::run,
      FloatMatmul<V, PlainF16>::run,
      FloatMatmul<V, PlainBF16>::run,
      TileMatmul<V, TileQ8_0<V>>::run,
      TileMatmul<V, TileQ4_0<V>>::run,
      TileMatmul<V, TileQ4_1<V>>::run,
      TileMatmul<V, TileQ5_0<V>>::run,
      TileMatmul<V, TileQ5_1<V>>::run,
      TileMatmul<V, TileQ2_K<V>>::run,
      TileMatmul<V, TileQ3_K<V>>::run,
      TileMatmul<V, TileQ4_K<V>>::run,
      TileMatmul<V, TileQ5_K<V>>::run,
      TileMatmul<V, TileQ6_K<V>>::run,
      TileMatmul<V, TileIQ4_NL<V>>::run,
      TileMatmul<V, TileIQ4_XS<V>>::run,
      TileMatmul<V, TileMXFP4<V>>::run,
  }};
};

}  // namespace
}  // namespace farthing
