// Reads a Hugging Face folder (config.json, tokenizer.json, *.safetensors) as the ModelFile that the
// same model's GGUF would give: keys and tensors under GGUF names, rows in GGUF order. Nothing is
// copied but vectors: matrices stay in the file, and rows that a GGUF orders otherwise are made as
// they are asked for (TensorView::make_rows). Source of names and orders: llama.cpp's converter.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "load/model_file.h"

namespace farthing {

// The files of a folder in memory. Empty spans stand for files that aren't there; config and
// tokenizer must be.
struct HfFolder {
  struct Shard {
    std::string name;  // "model.safetensors"
    std::span<const std::byte> bytes;
  };
  std::span<const std::byte> config;             // config.json
  std::span<const std::byte> generation_config;  // generation_config.json
  std::span<const std::byte> tokenizer;          // tokenizer.json
  std::span<const std::byte> tokenizer_config;   // tokenizer_config.json
  std::span<const std::byte> chat_template;      // chat_template.jinja
  std::span<const std::byte> index;              // model.safetensors.index.json
  std::vector<Shard> shards;                     // in the order of their names
};

// Which shards model.safetensors.index.json names: plain file names, sorted.
Result<std::vector<std::string>> shard_names(std::span<const std::byte> index);

// The bytes must outlive the ModelFile.
Result<ModelFile> read_hf_folder(const HfFolder& folder);

bool is_folder(const std::string& path);
Result<ModelFile> open_hf_folder(const std::string& path);

}  // namespace farthing
