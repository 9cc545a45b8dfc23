// Qwen 2 and 2.5 (biases on Q, K, V) and Qwen 3 (RMSNorm on each head of Q and K): the tensors say which.
#include "model/arch/families.h"

namespace farthing {

Result<ModelSpec> qwen_spec(const SpecReader& reader) {
  return read_common_spec(reader, RopeSpec::Pairing::kHalves);
}

}  // namespace farthing
