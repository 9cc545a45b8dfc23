// Writes one GGUF v3 file: header, keys and directory at once, then the tensors' bytes in order, as
// they come: nothing of them is kept. Owns: the file that is being written (base/new_file.h).
// Source: the GGUF specification (ggml, docs/gguf.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/new_file.h"
#include "base/result.h"
#include "load/gguf.h"
#include "load/limits.h"
#include "quant/format.h"

namespace farthing {

// A key, its value encoded as the file stores it (without the type).
struct GgufKey {
  std::string key;
  MetaType type = MetaType::kUint8;
  std::string value;
};
GgufKey gguf_key(std::string key, uint32_t value);
GgufKey gguf_key(std::string key, std::string_view value);
GgufKey gguf_key(std::string key, const std::vector<std::string>& values);
GgufKey gguf_key(const GgufEntry& entry);  // a copy

struct GgufTensor {
  std::string name;
  DType type = DType::kF32;
  std::array<int64_t, 4> dims = {1, 1, 1, 1};  // dims[0] is the contiguous one
  int n_dims = 1;

  int64_t bytes() const { return bytes_for(type, dims[0] * dims[1] * dims[2] * dims[3]); }
};

class GgufWriter {
 public:
  // `alignment` is a power of two; a file with another one than kDefaultAlignment states it in
  // `keys`. kNoResource, with the path, if the file can't be made or the disk has no room for it.
  static Result<GgufWriter> create(const std::string& path,
                                   std::span<const GgufKey> keys,
                                   std::vector<GgufTensor> tensors,
                                   uint64_t alignment = kDefaultAlignment);
  // The next bytes of the tensor at hand; never of two at once.
  Status write(std::span<const std::byte> bytes);
  // Every tensor is whole: the file takes its name.
  Status finish();

  int64_t file_bytes() const { return file_.bytes(); }

 private:
  GgufWriter(NewFile file, std::vector<GgufTensor> tensors, uint64_t alignment);
  Status pad();

  NewFile file_;
  std::vector<GgufTensor> tensors_;
  uint64_t alignment_ = kDefaultAlignment;
  size_t tensor_ = 0;  // at hand
  int64_t left_ = 0;   // of it, in bytes
};

}  // namespace farthing
