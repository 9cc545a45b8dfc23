#include "quant/quantize.h"

namespace farthing {

QuantizeFn quantizer_of(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return quantize_q8_0;
    case DType::kQ4_0:
      return quantize_q4_0;
    case DType::kQ4_1:
      return quantize_q4_1;
    case DType::kQ5_0:
      return quantize_q5_0;
    case DType::kQ5_1:
      return quantize_q5_1;
    case DType::kQ4_K:
      return quantize_q4_k;
    case DType::kQ5_K:
      return quantize_q5_k;
    case DType::kQ6_K:
      return quantize_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace farthing
