#include "cli/quantize_report.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace farthing {
namespace {

std::string shape_text(const TensorView& tensor) {
  return fmt::format("{}",
                     fmt::join(tensor.dims.begin(), tensor.dims.begin() + tensor.n_dims, " x "));
}

double bits_per_weight(int64_t bytes, int64_t n_values) {
  return n_values > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(n_values) : 0;
}

// What the rows can't hold of the type that the mix wants. Without a mix, nothing was wanted.
bool fell_back(const TensorPlan& t, const Mix* mix) {
  return mix != nullptr && t.to != t.tensor->type &&
         t.tensor->cols() % format_of(mix->type).qblock_values != 0;
}

Json json_of(const TensorPlan& t, const Mix* mix, const std::optional<TensorLoss>& loss) {
  Json json = {
      {"name", t.tensor->name},
      {"shape",
       std::vector<int64_t>(t.tensor->dims.begin(), t.tensor->dims.begin() + t.tensor->n_dims)},
      {"from", format_of(t.tensor->type).name},
      {"to", format_of(t.to).name},
      {"bytes", t.bytes()},
      {"fell_back", fell_back(t, mix)},
      {"importance", t.importance != nullptr}};
  if (!loss) return json;
  json["error"] = loss->error;
  if (t.importance != nullptr) json["weighted_error"] = loss->weighted;
  return json;
}

std::string row_text(const TensorPlan& t, const Mix* mix, const std::optional<TensorLoss>& loss) {
  const bool moved = loss && t.to != t.tensor->type;
  return fmt::format("{:<36} {:<16} {:>6} -> {:<6} {:>12}  {}{}\n",
                     printable(t.tensor->name),
                     shape_text(*t.tensor),
                     format_of(t.tensor->type).name,
                     format_of(t.to).name,
                     t.bytes(),
                     moved ? fmt::format("{:.5f}", loss->error) : "",
                     fell_back(t, mix) ? " (rows of other lengths)" : "");
}

Json json_of(const KldPlan& chosen) {
  Json groups = Json::array();
  for (size_t g = 0; g < chosen.groups.size(); ++g) {
    const KldGroup& group = chosen.groups[g];
    const KldGroup::Option& option = group.options[chosen.chosen[g]];
    groups.push_back({{"name", group.name},
                      {"tensors", group.tensors.size()},
                      {"type", format_of(option.type).name},
                      {"bytes", option.bytes},
                      {"kld", group.sensitivity * option.error}});
  }
  return {{"measured", chosen.kld}, {"groups", groups}};
}

std::string totals_text(const QuantizePlan& plan) {
  int64_t before = 0;
  for (const TensorPlan& t : plan.tensors) before += t.tensor->size_bytes();
  return fmt::format(
      "{} tensors, {:.1f} M parameters: {:.1f} MB at {:.2f} bits per weight -> "
      "{:.1f} MB at {:.2f}\n",
      plan.tensors.size(),
      static_cast<double>(plan.n_values()) * 1e-6,
      static_cast<double>(before) * 1e-6,
      bits_per_weight(before, plan.n_values()),
      static_cast<double>(plan.bytes()) * 1e-6,
      bits_per_weight(plan.bytes(), plan.n_values()));
}

}  // namespace

Json quantize_json(const Chosen& chosen, const TensorLosses& losses) {
  const QuantizePlan& plan = chosen.plan;
  Json tensors = Json::array();
  for (size_t i = 0; i < plan.tensors.size(); ++i)
    tensors.push_back(json_of(plan.tensors[i], chosen.mix, losses[i]));
  Json json = {{"type", chosen.mix != nullptr ? Json(chosen.mix->name) : Json()},
               {"tensors", tensors},
               {"bytes", plan.bytes()},
               {"parameters", plan.n_values()},
               {"bits_per_weight", bits_per_weight(plan.bytes(), plan.n_values())}};
  if (chosen.by_kld) json["kld"] = json_of(*chosen.by_kld);
  return json;
}

std::string quantize_table(const Chosen& chosen, const TensorLosses& losses) {
  std::string text = fmt::format("{:<36} {:<16} {:>6}    {:<6} {:>12}  {}\n",
                                 "tensor",
                                 "shape",
                                 "from",
                                 "to",
                                 "bytes",
                                 "error");
  const QuantizePlan& plan = chosen.plan;
  for (size_t i = 0; i < plan.tensors.size(); ++i)
    text += row_text(plan.tensors[i], chosen.mix, losses[i]);
  text += totals_text(plan);
  if (chosen.by_kld)
    text += fmt::format(
        "KL divergence {:.6f} (weights alone; target {})\n", chosen.by_kld->kld, chosen.target_kld);
  return text;
}

Json folder_json(const FolderPlan& plan, const TensorLosses& losses) {
  Json matrices = Json::array();
  for (size_t i = 0; i < plan.matrices.size(); ++i) {
    const FolderMatrix& m = plan.matrices[i];
    int64_t bytes = 0;
    for (const StoredSpec& part : m.parts(plan.type->kind)) bytes += part.bytes;
    Json json = {{"name", m.stored->name},
                 {"shape", {m.rows(), m.cols()}},
                 {"from", m.stored->type->name},
                 {"bytes", bytes},
                 {"group", m.group > 0 ? Json(m.group) : Json()},
                 {"importance", m.importance != nullptr}};
    if (losses[i]) json["error"] = losses[i]->error;
    if (losses[i] && m.importance != nullptr) json["weighted_error"] = losses[i]->weighted;
    matrices.push_back(json);
  }
  return {{"type", plan.type->name},
          {"tensors", matrices},
          {"bytes", plan.bytes()},
          {"parameters", plan.n_values()},
          {"bits_per_weight", bits_per_weight(plan.bytes(), plan.n_values())}};
}

std::string folder_table(const FolderPlan& plan, const TensorLosses& losses) {
  std::string text;
  for (size_t i = 0; i < plan.matrices.size(); ++i) {
    const FolderMatrix& m = plan.matrices[i];
    text += fmt::format("{:<48} {:>6} x {:<6} {:>5}  {}  {}\n",
                        printable(m.stored->name),
                        m.rows(),
                        m.cols(),
                        m.stored->type->name,
                        m.group > 0 ? fmt::format("groups of {}", m.group) : plan.type->name,
                        losses[i] ? fmt::format("{:.5f}", losses[i]->error) : "");
  }
  return text + fmt::format(
                    "{} matrices, {:.1f} M parameters: {:.1f} MB at {:.2f} bits per weight; "
                    "{} other tensors as they were\n",
                    plan.matrices.size(),
                    static_cast<double>(plan.n_values()) * 1e-6,
                    static_cast<double>(plan.bytes()) * 1e-6,
                    bits_per_weight(plan.bytes(), plan.n_values()),
                    plan.kept.size());
}

}  // namespace farthing
