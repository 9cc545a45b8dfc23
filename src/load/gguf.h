// Reads one GGUF image: header, metadata, tensor directory. Source:
// the GGUF specification (ggml, docs/gguf.md). Does not know: what keys mean (general.alignment
// apart), vocabularies, shards. Invariant of an accepted image: keys are unique; tensors have known
// types, whole quant blocks per row, and lie aligned inside the image without overlapping. Tensors
// and arrays point into the image, which must outlive them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "load/limits.h"
#include "load/metadata.h"
#include "quant/tensor_view.h"

namespace farthing {

struct GgufImage {
  uint32_t version = 0;
  uint64_t alignment = kDefaultAlignment;
  uint64_t data_offset = 0;  // where tensor data begins
  Metadata metadata;
  std::vector<TensorView>
      tensors;  // in file order; names may repeat (model_file.cc refuses that over all shards)
};

// Versions 2 and 3, little-endian. What it allocates is taken from `allowance`.
Result<GgufImage> parse_gguf(std::span<const std::byte> image, Allowance& allowance);

// A key as it stands in the file: what Metadata widens or sorts is as it was.
struct GgufEntry {
  std::string_view key;
  MetaType type = MetaType::kUint8;
  std::span<const std::byte> value;  // without the type
};
// The keys of an image that parse_gguf() accepted, in the order of the file.
Result<std::vector<GgufEntry>> gguf_entries(std::span<const std::byte> image);

}  // namespace farthing
