// The scalar codecs behind the table of format.cc, one file per family. Each takes a whole number
// of quant blocks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace farthing {

using DecodeFn = void (*)(const std::byte* src, float* dst, int64_t n);
using EncodeFn = void (*)(const float* src, std::byte* dst, int64_t n);

// plain.cc
void decode_f32(const std::byte* src, float* dst, int64_t n);
void decode_f16(const std::byte* src, float* dst, int64_t n);
void decode_bf16(const std::byte* src, float* dst, int64_t n);
void encode_f32(const float* src, std::byte* dst, int64_t n);
void encode_f16(const float* src, std::byte* dst, int64_t n);
void encode_bf16(const float* src, std::byte* dst, int64_t n);

// group32.cc
void decode_q8_0(const std::byte* src, float* dst, int64_t n);
void decode_q4_0(const std::byte* src, float* dst, int64_t n);
void decode_q4_1(const std::byte* src, float* dst, int64_t n);
void decode_q5_0(const std::byte* src, float* dst, int64_t n);
void decode_q5_1(const std::byte* src, float* dst, int64_t n);
void encode_q8_0(const float* src, std::byte* dst, int64_t n);

// kquant.cc
void decode_q2_k(const std::byte* src, float* dst, int64_t n);
void decode_q3_k(const std::byte* src, float* dst, int64_t n);
void decode_q4_k(const std::byte* src, float* dst, int64_t n);
void decode_q5_k(const std::byte* src, float* dst, int64_t n);
void decode_q6_k(const std::byte* src, float* dst, int64_t n);

// nonlinear.cc
void decode_iq4_nl(const std::byte* src, float* dst, int64_t n);
void decode_iq4_xs(const std::byte* src, float* dst, int64_t n);
void decode_mxfp4(const std::byte* src, float* dst, int64_t n);

// scaled.cc
void decode_fp8(const std::byte* src, float* dst, int64_t n);
void decode_int8(const std::byte* src, float* dst, int64_t n);
void decode_int4_g32(const std::byte* src, float* dst, int64_t n);
void decode_int4_g64(const std::byte* src, float* dst, int64_t n);
void decode_int4_g128(const std::byte* src, float* dst, int64_t n);

}  // namespace farthing
