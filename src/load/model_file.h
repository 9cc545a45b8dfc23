// Owns: the mapped file(s) of one model, a GGUF or a Hugging Face folder. Gives: validated metadata,
// tensors and vocabulary, under GGUF's names either way.
// Every byte is hostile: counts are bounded before allocation, arithmetic is checked, typed
// accessors refuse other types, tensors lie inside the file, aligned, not overlapping. Errors are
// kBadInput and name the key or offset. Invariant: memory taken beyond the pages of the file stays
// under kMemoryAllowance (load/limits.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "core/vocab.h"
#include "load/metadata.h"
#include "quant/tensor_view.h"

namespace farthing {

struct ModelFile {
  std::vector<MappedFile> files;  // one, or the shards in order
  std::string format;             // "GGUF v3", "Hugging Face folder"
  std::string architecture;  // general.architecture; empty in a vocabulary-only file without one
  Metadata metadata;         // of the first shard
  std::vector<TensorView> tensors;  // in file order; empty in a vocabulary-only file
  std::optional<Vocab> vocab;
  std::vector<std::string> notes;  // harmless oddities, one line each: shown by `check` and at load

  // Of a folder only: what its texts are tokenised by (docs/decisions/0012), and bytes that stand in
  // no file so, which metadata and tensors point to.
  MappedFile tokenizer_file;
  std::span<const std::byte> tokenizer_json;
  std::vector<std::vector<std::byte>> made;

  const TensorView* find(std::string_view name) const;  // nullptr if absent
  std::vector<uint32_t> by_name;                        // indices of tensors, sorted by name
  Status index_names();  // fills by_name; kBadInput if a name occurs twice
};

// Opens a GGUF v2/v3 file; if it is one shard of a split model (name-00001-of-00003.gguf) all
// shards are opened. Or a Hugging Face folder.
Result<ModelFile> open_model_file(const std::string& path);

// The same from one image in memory (not a split one), which must outlive the ModelFile.
Result<ModelFile> read_model_image(std::span<const std::byte> image);

}  // namespace farthing
