// What limited an answer's speed: what decoding read and computed, against what the machine gives.
// Does not know: how either was measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "cli/generation.h"
#include "measure/bench_work.h"
#include "measure/machine.h"

namespace farthing {

struct DecodeUse {
  double gb_per_s = 0;       // weights, K and V
  double read_fraction = 0;  // of what memory gives
  double read_roof = 0;      // GB/s
  double gops = 0;
  double int8_fraction = 0;  // of the int8 peak, whatever the weights are
};

// None if too few tokens were decoded to say.
std::optional<DecodeUse> decode_use(const ModelWork& model,
                                    const Answer& answer,
                                    const MachineSpeed::Rates& roofs);

// "decode: 17.5 GB/s read, 61 % of what memory gives (28.7 GB/s); 12 % of the int8 peak: limited
// by memory bandwidth"
std::string limit_words(const DecodeUse& use);
Json limit_json(const DecodeUse& use);

}  // namespace farthing
