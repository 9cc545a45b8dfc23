#include <cmath>
#include <numbers>

#include "kernels/ref/ref.h"

namespace farthing {

void ref_rms_norm(const float* x, const float* gain, int64_t n, float eps, float* out) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double mean = squares / static_cast<double>(n);
  const float factor = static_cast<float>(1 / std::sqrt(mean + eps));
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * gain[i];
}

void ref_silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

// GELU by its tanh form (Hendrycks and Gimpel, arXiv:1606.08415).
void ref_gelu_mul(const float* gate, const float* up, int64_t n, float* out) {
  const float root = std::sqrt(2 / std::numbers::pi_v<float>);
  for (int64_t i = 0; i < n; ++i) {
    const float x = gate[i];
    const float inner = root * (x + 0.044715f * x * x * x);
    out[i] = 0.5f * x * (1 + std::tanh(inner)) * up[i];
  }
}

void ref_rope(const float* cos, const float* sin, int64_t n_pairs, bool adjacent, float* x) {
  for (int64_t i = 0; i < n_pairs; ++i) {
    float& a = x[adjacent ? 2 * i : i];
    float& b = x[adjacent ? 2 * i + 1 : i + n_pairs];
    const float rotated = a * cos[i] - b * sin[i];
    b = a * sin[i] + b * cos[i];
    a = rotated;
  }
}

void ref_add(const float* x, int64_t n, float* inout) {
  for (int64_t i = 0; i < n; ++i) inout[i] += x[i];
}

void ref_soft_cap(float cap, int64_t n, float* inout) {
  for (int64_t i = 0; i < n; ++i) inout[i] = cap * std::tanh(inout[i] / cap);
}

}  // namespace farthing
