// What there is to say of a reference that is itself rounded: a loss against it says nothing of the
// weights that it was made from.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "quant/tensor_view.h"

namespace farthing {

// "llama 135M Q4_1: a 4-bit file", by the type that holds most of the matrices' values; of floats,
// whether they lie on a 4-bit grid. Empty if the weights may be as they were trained.
std::string weights_note(std::string_view description, std::span<const TensorView> tensors);

}  // namespace farthing
