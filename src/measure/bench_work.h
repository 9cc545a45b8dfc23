// What a bench test must read and compute at least (see model/model_work.h).
#pragma once

#include <cstdint>

#include "measure/bench.h"
#include "model/model_work.h"

namespace farthing {

Work work_of(const BenchTest& test, const ModelWork& model, int32_t chunk);

}  // namespace farthing
