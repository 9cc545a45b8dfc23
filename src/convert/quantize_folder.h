// Writes a Hugging Face folder anew with the matrices of its layers in fewer bits; the embedding,
// the head, norms and biases stay as they are, as everybody's engines expect. What is written is
// read again by load/hf_quant.h, exactly, and by others:
//   int4-g128, int4-g32  compressed-tensors, pack-quantized, with zero points; rows that groups
//   don't
//                        divide get groups of 64 or 32, or stay
//   int8                 compressed-tensors, int-quantized: a scale per row (activations per token)
//   fp8                  e4m3 with a scale per 128 x 128 values (weight_scale_inv), as DeepSeek's
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/matrix.h"
#include "base/result.h"
#include "base/thread_team.h"
#include "convert/importance.h"
#include "convert/int4.h"
#include "convert/quantize.h"
#include "load/model_file.h"
#include "load/safetensors.h"
#include "load/safetensors_writer.h"

namespace farthing {

struct FolderType {
  enum class Kind : uint8_t { kInt4, kInt8, kFP8 };

  std::string_view name;  // "int4-g128"
  Kind kind;
  int64_t group = 0;  // columns of INT4 that share a scale
};
std::span<const FolderType> all_folder_types();
const FolderType* folder_type_from_name(std::string_view name);  // nullptr if there is none

struct FolderMatrix {
  const StoredTensor* stored = nullptr;  // [rows][cols], floats
  std::string module;                    // "model.layers.3.mlp.up_proj"
  std::string tensor;                    // "blk.3.ffn_up.weight"
  int64_t layer = 0;
  int64_t group = 0;  // of INT4
  const Importance* importance = nullptr;

  int64_t rows() const { return stored->shape[0]; }
  int64_t cols() const { return stored->shape[1]; }
  std::vector<StoredSpec> parts(FolderType::Kind kind) const;  // what is stored of it
};

// Points into the file and the matrix, which outlive it.
struct FolderPlan {
  const FolderType* type = nullptr;
  std::string path;                       // of the folder that is read
  Json config;                            // config.json of the one that is written
  std::vector<StoredTensor> stored;       // all that is read
  std::vector<const StoredTensor*> kept;  // of these, what stays
  std::vector<FolderMatrix> matrices;     // the others, in the order of layers

  int64_t n_values() const;  // of the matrices
  int64_t bytes() const;     // of the matrices, written
  int64_t widest() const;    // most columns of a matrix
};

// `file` was opened from the folder at `path`. kUsage if it is no folder; kBadInput if it is
// quantised already, or the importance matrix doesn't fit.
Result<FolderPlan> plan_folder(const ModelFile& file,
                               const std::string& path,
                               const FolderType& type,
                               const ImportanceMatrix* importance);

struct FolderOptions {
  Int4Method method = Int4Method::kFit;
  // Sums of x_i x_j of a tensor's inputs, for kFeedback; asked for in the order of layers.
  std::function<Result<Matrix<const float>>(const std::string& tensor)> products_of;
};

// `progress` counts matrices. kUsage if there is something at `out`; kNoResource if it can't be
// written. The folder is made beside its name and renamed when it is whole.
Status write_folder(const FolderPlan& plan,
                    const std::string& out,
                    const FolderOptions& options,
                    ThreadTeam& team,
                    const QuantizeProgress& progress);

}  // namespace farthing
