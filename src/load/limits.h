// What a model file may ask of us. Larger is refused, with the key or offset, before anything is
// allocated. The format's own bounds: the GGUF specification (ggml, docs/gguf.md). The rest is
// generous against real models (Gemma 4: 262,144 tokens, 514,906 merges; Llama 3 405B: 1,138
// tensors).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace farthing {

inline constexpr uint64_t kMaxKeys = 65'536;
inline constexpr uint64_t kMaxTensors = 262'144;
inline constexpr uint64_t kMaxKeyBytes = 65'535;
inline constexpr uint64_t kMaxStringBytes = uint64_t{16} << 20;
inline constexpr uint64_t kMaxTensorNameBytes = 64;
inline constexpr uint32_t kMaxDims = 4;
inline constexpr uint64_t kDefaultAlignment = 32;
inline constexpr uint64_t kMinAlignment = 8;
inline constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
inline constexpr int64_t kMaxShards = 1024;
inline constexpr uint64_t kMaxVocabulary = uint64_t{1} << 20;
inline constexpr uint64_t kMaxMerges = uint64_t{1} << 20;
inline constexpr size_t kMaxPathShown = 4096;  // bytes of a path in a message
inline constexpr uint64_t kMaxTemplateBytes = uint64_t{1} << 20;

// Bytes that reading one model may take beyond the pages of its file (the promise is 64 MiB for the
// whole process).
inline constexpr uint64_t kMemoryAllowance = uint64_t{52} << 20;

// Owns: how much of the allowance is left. Everything that grows with the file is taken here first.
class Allowance {
 public:
  explicit Allowance(uint64_t bytes = kMemoryAllowance) : left_(bytes) {}

  Status take(uint64_t bytes) {
    if (bytes > left_) {
      return bad_input(
          "metadata and vocabulary need more than {} MiB of memory, which no real model does",
          kMemoryAllowance >> 20);
    }
    left_ -= bytes;
    return {};
  }

  // What a std::string of `length` bytes costs: itself, and a heap block beyond 15 bytes.
  static constexpr uint64_t string_cost(uint64_t length) {
    return sizeof(std::string) + (length > 15 ? (length + 24) / 16 * 16 : 0);
  }

 private:
  uint64_t left_;
};

}  // namespace farthing
