// Llama 2 and 3, SmolLM2, Mistral. Their files hold Q and K with rows permuted for adjacent-pair
// RoPE.
#include "model/arch/families.h"

namespace farthing {

Result<ModelSpec> llama_spec(const SpecReader& reader) {
  return read_common_spec(reader, RopeSpec::Pairing::kAdjacent);
}

}  // namespace farthing
