// What `quantize` prints: a row per tensor, and what each lost once it is written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "convert/mix.h"
#include "convert/quantize.h"
#include "convert/quantize_folder.h"
#include "measure/kld_plan.h"

namespace farthing {

// What is to be written, and how that was chosen: by a mix, or by what it loses.
struct Chosen {
  const Mix* mix = nullptr;
  std::optional<KldPlan> by_kld;
  double target_kld = 0;
  QuantizePlan plan;
};

using TensorLosses = std::vector<std::optional<TensorLoss>>;  // none: not written

Json quantize_json(const Chosen& chosen, const TensorLosses& losses);
std::string quantize_table(const Chosen& chosen, const TensorLosses& losses);

Json folder_json(const FolderPlan& plan, const TensorLosses& losses);
std::string folder_table(const FolderPlan& plan, const TensorLosses& losses);

}  // namespace farthing
