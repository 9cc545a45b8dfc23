// The matmul row of a KernelTable, in the order of DType.
#pragma once

#include "kernels/simd/float_matmul.h"
#include "kernels/simd/fp8_matmul.h"
#include "kernels/simd/isa_kernels.h"
#include "kernels/simd/panel_matmul.h"
#include "kernels/simd/tile_formats.h"
#include "kernels/simd/tile_matmul.h"

namespace farthing {
namespace {

template <class V>
struct MatmulRow {
  template <class Tile>
  static void integer(const MatmulTask& task) {
    // AVX-512 without VNNI has registers for sixteen tokens without a panel: 92 % of its int8 peak.
    if constexpr (V::kVnni || V::kLanes < kTileRows) {
      PanelMatmul<V, Tile>::run(task);
    } else {
      TileMatmul<V, Tile>::run(task);
    }
  }

  static constexpr MatmulFns kFns = {{
      FloatMatmul<V, PlainF32>::run,
      FloatMatmul<V, PlainF16>::run,
      FloatMatmul<V, PlainBF16>::run,
      integer<TileQ8_0<V>>,
      integer<TileQ4_0<V>>,
      integer<TileQ4_1<V>>,
      integer<TileQ5_0<V>>,
      integer<TileQ5_1<V>>,
      integer<TileQ2_K<V>>,
      integer<TileQ3_K<V>>,
      integer<TileQ4_K<V>>,
      integer<TileQ5_K<V>>,
      integer<TileQ6_K<V>>,
      integer<TileIQ4_NL<V>>,
      integer<TileIQ4_XS<V>>,
      integer<TileMXFP4<V>>,
      FP8Matmul<V>::run,
      integer<TileINT8<V>>,
      integer<TileINT4<V, 1>>,
      integer<TileINT4<V, 2>>,
      integer<TileINT4<V, 4>>,
  }};
};

}  // namespace
}  // namespace farthing
