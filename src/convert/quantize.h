// Writes a model anew with other types: a plan says which, then the file is made tensor by tensor,
// a few megabytes at a time. Same tensors, names, order and metadata. The same bytes come out
// whatever the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_team.h"
#include "convert/importance.h"
#include "convert/mix.h"
#include "convert/tensor_loss.h"
#include "load/model_file.h"
#include "quant/format.h"

namespace farthing {

struct TensorPlan {
  const TensorView* tensor = nullptr;  // what is read
  DType to = DType::kF32;
  const Importance* importance = nullptr;

  int64_t bytes() const { return bytes_for(to, tensor->size()); }
};

// Points into the file and the matrix, which outlive it.
struct QuantizePlan {
  const ModelFile* file = nullptr;
  uint32_t file_type = 0;  // general.file_type
  std::vector<TensorPlan> tensors;
  // What the importance matrix was, for the metadata; nullptr if there is none.
  const ImportanceMatrix* importance = nullptr;

  int64_t n_values() const;
  int64_t bytes() const;  // of all tensors
};

// kBadInput if the matrix doesn't fit the model: sizes of a tensor's that differ, no tensor in
// common.
Result<QuantizePlan> plan_quantize(const ModelFile& file,
                                   const Mix& mix,
                                   const ImportanceMatrix* importance);

// The bytes of one tensor in its new type, in `out` (plan.bytes() of them). kBadInput, with tensor
// and place, for values that are no numbers or too large for the type.
Result<TensorLoss> quantize_tensor(const TensorPlan& plan, ThreadTeam& team, std::byte* out);

// kUsage if writing to `path` would lose what is read: a file of the model's, or any that is in its
// folder.
Status check_not_read(const ModelFile& file, const std::string& path);

// Called while the file is made; false stops it (kInterrupted, nothing is left behind). `tensor`
// counts from 0; `loss` is set once, when it is done.
using QuantizeProgress =
    std::function<bool(size_t tensor, int64_t values_done, const TensorLoss* loss)>;

// kUsage if the path is one of the files that are read; kNoResource if it can't be written.
Status write_quantized(const QuantizePlan& plan,
                       const std::string& path,
                       ThreadTeam& team,
                       const QuantizeProgress& progress);

}  // namespace farthing
