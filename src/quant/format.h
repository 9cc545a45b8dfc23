// The one table of weight formats: what a GGUF tensor type is called, how large it is, how it decodes.
// A format is one row here and one file in this folder; every table of kernels serves every format.
// Source of layouts: ggml's block structs (ggml-common.h) and the PyPI package `gguf`, which makes the goldens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace farthing {

enum class DType : uint8_t {
  kF32, kF16, kBF16,
  kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1,
  kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K,
  kIQ4_NL, kIQ4_XS, kMXFP4,
  kFP8, kINT8, kINT4_G32, kINT4_G64, kINT4_G128,  // of Hugging Face folders; no GGUF has them
};
inline constexpr size_t kDTypeCount = 21;
inline constexpr uint32_t kNoGgmlType = ~uint32_t{0};

struct Format {
  DType type;
  std::string_view name;   // as GGUF tools print it: "Q4_K"
  uint32_t ggml_type;      // the number in a GGUF file; kNoGgmlType: it can't be in one
  int64_t qblock_values;   // values that share scales; a row is a whole number of them
  int64_t qblock_bytes;
  // Decodes n values (a multiple of qblock_values) from src, bit for bit as the reference does.
  void (*decode)(const std::byte* src, float* dst, int64_t n);
  // The inverse (F32, F16, BF16 and Q8_0: what weights are converted to at load); nullptr for the others.
  void (*encode)(const float* src, std::byte* dst, int64_t n);
};

// Values that are floats (FP8 with a scale): they are multiplied with f32 activations, others with
// int8 ones.
constexpr bool has_float_values(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || type == DType::kFP8;
}

const Format& format_of(DType type);
std::span<const Format> all_formats();
// nullptr if the number or name is none of ours.
const Format* format_from_ggml(uint32_t ggml_type);
const Format* format_from_name(std::string_view name);

// Bytes of `values` values (a multiple of qblock_values).
inline int64_t bytes_for(DType type, int64_t values) {
  const Format& f = format_of(type);
  return values / f.qblock_values * f.qblock_bytes;
}

}  // namespace farthing
