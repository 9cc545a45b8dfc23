// The importance matrix: for each matrix of a model, how much each of its inputs carries, as the
// sum of its squares over the tokens of a text. Quantising weighs errors with it. Owns: the
// numbers. The file is GGUF, as llama.cpp's imatrix tool writes it: F32 tensors NAME.in_sum2 [cols,
// matrices] and NAME.counts [1, matrices] (matrices: 1, or one per expert), keys general.type =
// "imatrix", imatrix.datasets, .chunk_count, .chunk_size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace farthing {

struct Importance {
  std::vector<float> sums;    // [matrices][cols]
  std::vector<float> counts;  // [matrices] tokens seen

  int64_t n_matrices() const { return static_cast<int64_t>(counts.size()); }
  // [matrices][cols]; 1 where no token was seen.
  std::vector<float> mean_squares() const;
};

struct ImportanceMatrix {
  std::map<std::string, Importance, std::less<>> tensors;
  std::vector<std::string> texts;  // what it was made from: names of files
  uint32_t chunks = 0;
  uint32_t chunk_size = 0;  // tokens
};

// kBadInput that names the tensor: not such a file, sums without counts, sizes that don't fit,
// numbers that are none.
Result<ImportanceMatrix> read_importance(const std::string& path);
Result<ImportanceMatrix> parse_importance(std::span<const std::byte> image);
// kNoResource if it can't be written.
Status write_importance(const ImportanceMatrix& matrix, const std::string& path);

}  // namespace farthing
