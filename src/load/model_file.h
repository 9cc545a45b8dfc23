// Owns: the mapped file(s) of one model. Gives: validated metadata, tensors and vocabulary.
// Every byte is hostile: counts are bounded before allocation, arithmetic is checked, typed accessors refuse other
// types, tensors lie inside the file, aligned, not overlapping. Errors are kBadInput and name the key or offset.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "core/vocab.h"
#include "quant/tensor_view.h"

namespace farthing {

// A metadata value; arrays of integers of any width are widened.
using MetaValue = std::variant<bool,
                               int64_t,
                               uint64_t,
                               double,
                               std::string,
                               std::vector<bool>,
                               std::vector<int64_t>,
                               std::vector<uint64_t>,
                               std::vector<double>,
                               std::vector<std::string>>;

// Typed, checked look-ups. A missing key is nullopt; a key of another type is kBadInput that names key and types.
class Metadata {
 public:
  // Integers: any integer type whose value fits [low, high], else kBadInput that names key, value and range.
  Result<std::optional<int64_t>> integer(std::string_view key, int64_t low, int64_t high) const;
  Result<std::optional<double>> number(std::string_view key) const;  // float32/float64, finite
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> string(std::string_view key) const;
  const MetaValue* find(std::string_view key) const;

  std::map<std::string, MetaValue, std::less<>> values;
};

struct ModelFile {
  std::vector<MappedFile> files;           // one, or the shards in order
  std::string format;                      // "GGUF v3"
  std::string architecture;                // general.architecture; empty in a vocabulary-only file without one
  Metadata metadata;
  std::vector<TensorView> tensors;         // in file order; empty in a vocabulary-only file
  std::optional<Vocab> vocab;

  const TensorView* find(std::string_view name) const;  // nullptr if absent
  std::map<std::string, size_t, std::less<>> tensor_index;
};

// Opens a GGUF v2/v3 file; if it is one shard of a split model (name-00001-of-00003.gguf) all shards are opened.
Result<ModelFile> open_model_file(const std::string& path);

}  // namespace farthing
