// SpecReader: the hyper-parameters "<architecture>.*" of a file, with ranges. What the families
// share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "load/model_file.h"
#include "model/spec.h"

namespace farthing {

class SpecReader {
 public:
  explicit SpecReader(const ModelFile& file) : file_(file) {}

  std::string key(std::string_view suffix) const;
  bool has(std::string_view suffix) const { return file_.metadata.find(key(suffix)) != nullptr; }
  Result<int64_t> integer(std::string_view suffix, int64_t low, int64_t high) const;
  Result<int64_t> integer_or(std::string_view suffix,
                             int64_t low,
                             int64_t high,
                             int64_t otherwise) const;
  // One value for all layers, or an array of one per layer.
  Result<std::vector<int32_t>> per_layer(std::string_view suffix,
                                         int64_t low,
                                         int64_t high,
                                         int32_t n_layers) const;
  Result<double> number_or(std::string_view suffix,
                           double low,
                           double high,
                           double otherwise) const;
  Result<std::optional<std::string>> string(std::string_view suffix) const;
  const ModelFile& file() const { return file_; }

 private:
  const ModelFile& file_;
};

// What every decoder of these families states: sizes, heads, feed-forward, eps; one rope at index 0
// from rope.* keys with its scaling (linear, YaRN, and the Llama 3 factors of rope_freqs.weight).
// Families adjust the result.
Result<ModelSpec> read_common_spec(const SpecReader& reader, RopeSpec::Pairing pairing);

// Frequencies base^(-2i/dims), divided by `factor` (linear scaling; 1: none).
RopeSpec plain_rope(RopeSpec::Pairing pairing, int32_t dims, double base, double factor);

}  // namespace farthing
