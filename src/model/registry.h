// The architectures farthing runs, as a visible list; and the way from a file to a ModelSpec.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "load/model_file.h"
#include "model/spec.h"

namespace farthing {

// The spec that the file's hyper-parameters state, each in range and consistent with the others and
// with the embedding's shape (weights.h checks every tensor). kBadInput names the key.
Result<ModelSpec> build_spec(const ModelFile& file);

std::vector<std::string> supported_architectures();

}  // namespace farthing
