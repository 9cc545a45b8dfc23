// Turns the keys tokenizer.* into a Vocab, validated: lengths agree, ids are in range, tokens are
// distinct. Does not know: how text is tokenised, or which tokenizer models exist (text/ refuses
// those it can't run).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/vocab.h"
#include "load/limits.h"
#include "load/metadata.h"

namespace farthing {

// nullopt if the file has no vocabulary. Harmless oddities are added to `notes`.
Result<std::optional<Vocab>> read_vocab(const Metadata& metadata,
                                        Allowance& allowance,
                                        std::vector<std::string>& notes);

}  // namespace farthing
