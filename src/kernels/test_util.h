// Helpers of the kernel tests: random weights of any format, buffers that end at a guard page,
// attention cases.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "kernels/kernel_table.h"

namespace farthing::test {

// `size` zeroed bytes whose end is the start of an unmapped page: reading or writing beyond it is a
// crash.
class Guarded {
 public:
  explicit Guarded(size_t size) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (size + page - 1) / page * page + page;
    void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    base_ = static_cast<std::byte*>(p);
    CHECK(mprotect(base_ + mapped_ - page, page, PROT_NONE) == 0);
    data_ = base_ + mapped_ - page - size;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }

  std::byte* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* base_;
  std::byte* data_;
  size_t mapped_;
};

inline std::vector<float> random_floats(size_t n, uint32_t seed, float sigma = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

// Byte offsets of the f16 factors of a quant block, as in quant/layout.h.
inline std::vector<int> factor_offsets(DType type) {
  switch (type) {
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kMXFP4:
    case DType::kFP8:
    case DType::kINT8:
      return {};
    default:
      return {0};
  }
}

// `values` weights of a format: random bits with scales like those of real models.
inline void fill_weights(DType type, int64_t values, uint32_t seed, std::byte* out) {
  const Format& f = format_of(type);
  if (f.qblock_values == 1) {
    f.encode(random_floats(static_cast<size_t>(values), seed, 0.05f).data(), out, values);
    return;
  }
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> scale(0.001f, 0.01f);
  for (int64_t b = 0; b < values / f.qblock_values; ++b) {
    std::byte* block = out + b * f.qblock_bytes;
    for (int64_t i = 0; i < f.qblock_bytes; ++i) block[i] = static_cast<std::byte>(random());
    for (int offset : factor_offsets(type)) {
      const uint16_t half = f32_to_f16(scale(random) * (random() % 2 ? 1.0f : -1.0f));
      std::memcpy(block + offset, &half, 2);
    }
    if (type == DType::kFP8 || type == DType::kINT8) {
      const float d = scale(random) * 0.1f;
      std::memcpy(block, &d, sizeof d);
    }
    if (type == DType::kINT4_G32 || type == DType::kINT4_G64 || type == DType::kINT4_G128) {
      const auto zero = static_cast<uint16_t>(random() % 17);
      std::memcpy(block + 2, &zero, sizeof zero);
    }
    if (type == DType::kMXFP4) block[0] = static_cast<std::byte>(116 + random() % 8);
  }
}

}  // namespace farthing::test
