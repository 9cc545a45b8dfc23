#include "quant/format.h"

#include "base/check.h"
#include "quant/codecs.h"
#include "quant/layout.h"

namespace farthing {
namespace {

template <class QBlock>
constexpr Format format_row(DType type,
                            std::string_view name,
                            uint32_t ggml_type,
                            int64_t values,
                            DecodeFn decode,
                            EncodeFn encode = nullptr) {
  return {type, name, ggml_type, values, sizeof(QBlock), decode, encode};
}

constexpr std::array<Format, kDTypeCount> kFormats = {
    format_row<float>(DType::kF32, "F32", 0, 1, decode_f32, encode_f32),
    format_row<uint16_t>(DType::kF16, "F16", 1, 1, decode_f16, encode_f16),
    format_row<uint16_t>(DType::kBF16, "BF16", 30, 1, decode_bf16, encode_bf16),
    format_row<QBlockQ8_0>(DType::kQ8_0, "Q8_0", 8, 32, decode_q8_0, encode_q8_0),
    format_row<QBlockQ4_0>(DType::kQ4_0, "Q4_0", 2, 32, decode_q4_0),
    format_row<QBlockQ4_1>(DType::kQ4_1, "Q4_1", 3, 32, decode_q4_1),
    format_row<QBlockQ5_0>(DType::kQ5_0, "Q5_0", 6, 32, decode_q5_0),
    format_row<QBlockQ5_1>(DType::kQ5_1, "Q5_1", 7, 32, decode_q5_1),
    format_row<QBlockQ2_K>(DType::kQ2_K, "Q2_K", 10, 256, decode_q2_k),
    format_row<QBlockQ3_K>(DType::kQ3_K, "Q3_K", 11, 256, decode_q3_k),
    format_row<QBlockQ4_K>(DType::kQ4_K, "Q4_K", 12, 256, decode_q4_k),
    format_row<QBlockQ5_K>(DType::kQ5_K, "Q5_K", 13, 256, decode_q5_k),
    format_row<QBlockQ6_K>(DType::kQ6_K, "Q6_K", 14, 256, decode_q6_k),
    format_row<QBlockIQ4_NL>(DType::kIQ4_NL, "IQ4_NL", 20, 32, decode_iq4_nl),
    format_row<QBlockIQ4_XS>(DType::kIQ4_XS, "IQ4_XS", 23, 256, decode_iq4_xs),
    format_row<QBlockMXFP4>(DType::kMXFP4, "MXFP4", 39, 32, decode_mxfp4),
    format_row<QBlockFP8>(DType::kFP8, "FP8", kNoGgmlType, 128, decode_fp8),
    format_row<QBlockINT8>(DType::kINT8, "INT8", kNoGgmlType, 128, decode_int8),
    format_row<QBlockINT4<1>>(DType::kINT4_G32, "INT4_G32", kNoGgmlType, 32, decode_int4_g32),
    format_row<QBlockINT4<2>>(DType::kINT4_G64, "INT4_G64", kNoGgmlType, 64, decode_int4_g64),
    format_row<QBlockINT4<4>>(DType::kINT4_G128, "INT4_G128", kNoGgmlType, 128, decode_int4_g128),
};

constexpr bool rows_are_in_order() {
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (static_cast<size_t>(kFormats[i].type) != i) return false;
  }
  return true;
}
static_assert(rows_are_in_order(), "row i describes DType i");

}  // namespace

const Format& format_of(DType type) {
  const size_t row = static_cast<size_t>(type);
  CHECK(row < kFormats.size());
  return kFormats[row];
}

std::span<const Format> all_formats() {
  return kFormats;
}

const Format* format_from_ggml(uint32_t ggml_type) {
  for (const Format& f : kFormats) {
    if (f.ggml_type == ggml_type && ggml_type != kNoGgmlType) return &f;
  }
  return nullptr;
}

const Format* format_from_name(std::string_view name) {
  for (const Format& f : kFormats) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

}  // namespace farthing
