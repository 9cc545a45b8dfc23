#include "measure/bench_work.h"

#include <algorithm>

namespace farthing {

Work work_of(const BenchTest& test, const ModelWork& model, int32_t chunk) {
  Work work;
  for (int32_t done = 0; done < test.n_prompt;) {
    const int32_t count = std::min(chunk, test.n_prompt - done);
    done += count;
    work += model.of_weights(count, done == test.n_prompt ? 1 : 0);
    work += model.of_kv(test.n_depth + done, count);
  }
  for (int32_t step = 1; step <= test.n_gen; ++step) {
    work += model.of_weights(test.n_sequences, test.n_sequences);
    const double kv_bytes = model.of_kv(test.n_depth + step, 1).bytes;
    work += {.bytes = test.n_sequences * kv_bytes};
  }
  return work;
}

}  // namespace farthing
