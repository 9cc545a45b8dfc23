// What files are quantised with: the encoders that search, where Format::encode only rounds. One
// objective: the least sum of weighted squared errors. One file per family; quant/fit.h is the
// search.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace farthing {

// n values (a multiple of the type's qblock_values), each weighted by its `weights` (finite, >= 0,
// about 1 in the mean; nullptr: all alike; zeroes for a whole block: that block's alike). Values
// are finite; a block with one too large for its f16 scale decodes to no number.
using QuantizeFn = void (*)(const float* src, const float* weights, std::byte* dst, int64_t n);

// nullptr for types that have none: F32, F16, BF16, and those that aren't written.
QuantizeFn quantizer_of(DType type);

// group32_quantize.cc
void quantize_q8_0(const float* src, const float* weights, std::byte* dst, int64_t n);
void quantize_q4_0(const float* src, const float* weights, std::byte* dst, int64_t n);
void quantize_q4_1(const float* src, const float* weights, std::byte* dst, int64_t n);
void quantize_q5_0(const float* src, const float* weights, std::byte* dst, int64_t n);
void quantize_q5_1(const float* src, const float* weights, std::byte* dst, int64_t n);

// kquant_quantize.cc
void quantize_q4_k(const float* src, const float* weights, std::byte* dst, int64_t n);
void quantize_q5_k(const float* src, const float* weights, std::byte* dst, int64_t n);
void quantize_q6_k(const float* src, const float* weights, std::byte* dst, int64_t n);

}  // namespace farthing
