// libFuzzer target: any bytes, read as an importance matrix. What is accepted must make sense.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "convert/importance.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using farthing::fuzz::require;
  const auto matrix = farthing::parse_importance(std::as_bytes(std::span(data, size)));
  if (!matrix) {
    farthing::fuzz::require_refusal(matrix.error());
    return 0;
  }
  for (const auto& [name, importance] : matrix->tensors) {
    require(!importance.counts.empty() && importance.sums.size() >= importance.counts.size(),
            "fewer sums than matrices");
    require(importance.sums.size() * sizeof(float) <= size, "more sums than bytes");
    for (const float v : importance.mean_squares())
      require(v >= 0 && std::isfinite(v), "a mean square of {}", v);
  }
  return 0;
}
