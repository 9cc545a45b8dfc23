#include "model/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/utf8.h"

namespace farthing {
namespace {

constexpr int64_t kMaxContext = 1 << 24;

struct YarnParams {
  double factor, original_context, extrapolation, attention_factor, beta_fast, beta_slow;
};

// YaRN (Peng et al., 2023): interpolate slow dimensions, keep fast ones, ramp between; cosine and
// sine grow by attention_factor * (0.1 ln(factor) + 1).
void apply_yarn(RopeSpec& rope, double base, const YarnParams& yarn) {
  const double n = rope.dims;
  auto dim_of_rotations = [&](double rotations) {
    return n * std::log(yarn.original_context / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(base));
  };
  const double low = std::max(0.0, std::floor(dim_of_rotations(yarn.beta_fast)));
  const double high = std::min(n - 1, std::ceil(dim_of_rotations(yarn.beta_slow)));
  for (size_t i = 0; i < rope.frequency.size(); ++i) {
    const double ramp =
        std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
    const double keep = (1.0 - ramp) * yarn.extrapolation;
    rope.frequency[i] *= keep + (1.0 - keep) / yarn.factor;
  }
  double magnitude = yarn.attention_factor;
  if (yarn.extrapolation != 0) magnitude *= 1.0 + 0.1 * std::log(yarn.factor);
  rope.magnitude = static_cast<float>(magnitude);
}

// The Llama 3 factors: one f32 per frequency in the tensor rope_freqs.weight, which divides it.
Status apply_factors(const ModelFile& file, RopeSpec& rope) {
  const TensorView* factors = file.find("rope_freqs.weight");
  if (factors == nullptr) return {};
  if (factors->type != DType::kF32 ||
      factors->size() != static_cast<int64_t>(rope.frequency.size())) {
    return bad_input("tensor 'rope_freqs.weight': expected {} F32 values, found {} of {}",
                     rope.frequency.size(),
                     factors->size(),
                     format_of(factors->type).name);
  }
  for (size_t i = 0; i < rope.frequency.size(); ++i) {
    float value = 0;
    std::memcpy(&value, factors->row(0) + i * sizeof value, sizeof value);
    if (!std::isfinite(value) || value <= 0) {
      return bad_input(
          "tensor 'rope_freqs.weight': value {} is {}, not a positive number", i, value);
    }
    rope.frequency[i] /= value;
  }
  return {};
}

Result<RopeSpec> read_yarn(
    const SpecReader& reader, RopeSpec rope, double base, double factor, int32_t context) {
  YarnParams yarn{.factor = factor};
  FARTHING_TRY(const int64_t original,
               reader.integer_or("rope.scaling.original_context_length", 1, kMaxContext, context));
  yarn.original_context = static_cast<double>(original);
  FARTHING_TRY(yarn.extrapolation, reader.number_or("rope.scaling.yarn_ext_factor", 0, 1, 1.0));
  FARTHING_TRY(yarn.attention_factor,
               reader.number_or("rope.scaling.yarn_attn_factor", 1e-3, 1e3, 1.0));
  FARTHING_TRY(yarn.beta_fast, reader.number_or("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32.0));
  FARTHING_TRY(yarn.beta_slow, reader.number_or("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1.0));
  apply_yarn(rope, base, yarn);
  return rope;
}

}  // namespace

RopeSpec plain_rope(RopeSpec::Pairing pairing, int32_t dims, double base, double factor) {
  RopeSpec rope{.pairing = pairing, .dims = dims};
  for (int32_t i = 0; i < dims / 2; ++i) {
    rope.frequency.push_back(std::pow(base, -2.0 * i / dims) / factor);
  }
  return rope;
}

Result<RopeSpec> read_rope(const SpecReader& reader,
                           RopeSpec::Pairing pairing,
                           int32_t head_dim,
                           int32_t context_length) {
  FARTHING_TRY(const int64_t dims,
               reader.integer_or("rope.dimension_count", 2, head_dim, head_dim));
  if (dims % 2 != 0)
    return bad_input("{} is {}, which is odd", reader.key("rope.dimension_count"), dims);
  FARTHING_TRY(const double base, reader.number_or("rope.freq_base", 1.0001, 1e12, 10000.0));
  FARTHING_TRY(const auto type, reader.string("rope.scaling.type"));
  // Old files state linear scaling by rope.scale_linear alone.
  FARTHING_TRY(const double old_factor, reader.number_or("rope.scale_linear", 1e-3, 1e6, 1.0));
  FARTHING_TRY(const double factor, reader.number_or("rope.scaling.factor", 1e-3, 1e6, old_factor));
  const std::string scaling = type.value_or(factor != 1.0 ? "linear" : "none");
  if (scaling == "yarn") {
    return read_yarn(reader,
                     plain_rope(pairing, static_cast<int32_t>(dims), base, 1.0),
                     base,
                     factor,
                     context_length);
  }
  if (scaling != "linear" && scaling != "none") {
    return bad_input("{} is \"{}\": farthing knows none, linear, yarn and the Llama 3 factors",
                     reader.key("rope.scaling.type"),
                     printable(scaling));
  }
  RopeSpec rope =
      plain_rope(pairing, static_cast<int32_t>(dims), base, scaling == "linear" ? factor : 1.0);
  FARTHING_TRY_VOID(apply_factors(reader.file(), rope));
  return rope;
}

}  // namespace farthing
