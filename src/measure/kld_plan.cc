#include "measure/kld_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/cpu.h"
#include "measure/perplexity.h"
#include "measure/quality.h"
#include "model/model.h"

namespace farthing {
namespace {

constexpr DType kLadder[] = {DType::kQ4_K,
                             DType::kQ4_0,
                             DType::kQ4_1,
                             DType::kQ5_K,
                             DType::kQ5_0,
                             DType::kQ5_1,
                             DType::kQ6_K,
                             DType::kQ8_0,
                             DType::kF16};
constexpr int kBands = 4;            // of layers
constexpr int kRounds = 6;           // of measuring a whole choice
constexpr double kNearEnough = 0.9;  // of the target: less isn't worth another round

// "blk.12.attn_q.weight" -> 12, "attn_q.weight"; -1 without a layer.
std::pair<int64_t, std::string> split_name(const std::string& name) {
  if (!name.starts_with("blk.")) return {-1, name};
  const size_t dot = name.find('.', 4);
  if (dot == std::string::npos) return {-1, name};
  int64_t layer = 0;
  for (size_t i = 4; i < dot; ++i) {
    if (name[i] < '0' || name[i] > '9' || layer > 1 << 20) return {-1, name};
    layer = layer * 10 + (name[i] - '0');
  }
  return {layer, name.substr(dot + 1)};
}

std::vector<KldGroup> groups_of(const ModelFile& file) {
  const bool tied = file.find("output.weight") == nullptr;
  int64_t n_layers = 0;
  for (const TensorView& t : file.tensors)
    n_layers = std::max(n_layers, split_name(t.name).first + 1);
  std::map<std::pair<std::string, int64_t>, KldGroup> groups;
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    if (role_of(file.tensors[i], tied) == TensorRole::kKept) continue;
    const auto [layer, kind] = split_name(file.tensors[i].name);
    const int64_t band = layer < 0 ? -1 : layer * kBands / n_layers;
    KldGroup& group = groups[{kind, band}];
    if (group.tensors.empty())
      group.name = layer < 0 ? kind : fmt::format("{}, layers from {}", kind, layer);
    group.tensors.push_back(i);
  }
  std::vector<KldGroup> out;
  for (auto& [key, group] : groups) out.push_back(std::move(group));
  return out;
}

// A model's tensors, some in other types: their bytes are here, the rest stays where it is.
class Variant {
 public:
  explicit Variant(const ModelFile& file) : file_(file), tensors_(file.tensors) {}

  Result<TensorLoss> replace(const TensorPlan& plan, size_t index, ThreadTeam& team) {
    std::vector<std::byte>& bytes = owned_[index];
    bytes.resize(static_cast<size_t>(plan.bytes()));
    FARTHING_TRY(const TensorLoss loss, quantize_tensor(plan, team, bytes.data()));
    tensors_[index].type = plan.to;
    tensors_[index].bytes = bytes;
    tensors_[index].make_rows = nullptr;
    return loss;
  }

  // Valid while this is. Its weights are f32.
  Result<std::unique_ptr<Model>> model() const {
    ModelFile file;
    file.format = file_.format;
    file.architecture = file_.architecture;
    file.metadata = file_.metadata;
    file.tensors = tensors_;
    file.by_name = file_.by_name;
    return make_model(std::move(file), WeightMode::kF32);
  }

 private:
  const ModelFile& file_;
  std::vector<TensorView> tensors_;
  std::map<size_t, std::vector<std::byte>> owned_;
};

class Planner {
 public:
  Planner(const ModelFile& file,
          const ImportanceMatrix* importance,
          const Windows& windows,
          const KldPlanOptions& options)
      : file_(file),
        importance_(importance),
        windows_(windows),
        options_(options),
        team_(options.runner.n_threads > 0 ? options.runner.n_threads : cpu_budget().threads),
        groups_(groups_of(file)) {}

  Result<KldPlan> plan() {
    // Checks the matrix, and finds each tensor's part of it.
    FARTHING_TRY(weighted_, plan_quantize(file_, *mix_from_name("F16"), importance_));
    FARTHING_TRY_VOID(step("reference", 0));
    FARTHING_TRY_VOID(compute_reference());
    for (size_t i = 0; i < groups_.size(); ++i) {
      FARTHING_TRY_VOID(step(groups_[i].name, static_cast<int32_t>(i) + 1));
      FARTHING_TRY_VOID(measure_group(groups_[i]));
    }
    return choose();
  }

 private:
  Status step(std::string_view what, int32_t n_done) {
    if (options_.progress(what, n_done, static_cast<int32_t>(groups_.size()) + 1)) return {};
    return Error{ErrorKind::kInterrupted, ""};
  }

  TensorPlan planned(size_t tensor, DType type) const {
    TensorPlan plan = weighted_.tensors[tensor];
    plan.to = type;
    return plan;
  }

  Status compute_reference() {
    FARTHING_TRY(const auto model, Variant(file_).model());
    vocab_ = model->spec.vocab_size;
    const size_t n = static_cast<size_t>(windows_.n_scored()) * static_cast<size_t>(vocab_);
    const auto bytes = static_cast<int64_t>(n * sizeof(float)) * windows_.count();
    if (const int64_t free = memory_budget().available; free > 0 && bytes > free / 4)
      return no_resource("the reference's logits take {} MiB: give fewer --chunks", bytes >> 20);
    FARTHING_TRY(WindowRunner runner,
                 WindowRunner::create(*model, options_.runner, windows_.size()));
    for (int32_t i = 0; i < windows_.count(); ++i) {
      std::vector<float>& rows = reference_.emplace_back(n);
      runner.run(windows_, i, [&](int32_t row, std::span<float> logits, TokenId) {
        std::copy_n(logits.begin(), vocab_, rows.begin() + static_cast<ptrdiff_t>(row) * vocab_);
      });
    }
    return {};
  }

  Result<double> divergence(const Variant& variant) {
    FARTHING_TRY(const auto model, variant.model());
    FARTHING_TRY(WindowRunner runner,
                 WindowRunner::create(*model, options_.runner, windows_.size()));
    FARTHING_TRY(const Quality quality,
                 measure_quality(
                     compare_by(runner, windows_, vocab_),
                     windows_,
                     [&](int32_t window) -> Result<std::span<const float>> {
                       return std::span<const float>(reference_[static_cast<size_t>(window)]);
                     },
                     [](int32_t, const Quality&) {}));
    return quality.kld_mean.value;
  }

  // Options, and the sensitivity: from the one with most error, which is seen best.
  Status measure_group(KldGroup& group) {
    std::optional<Variant> worst;
    double most = -1;
    for (const DType type : kLadder) {
      const bool fits = std::ranges::all_of(group.tensors, [&](size_t i) {
        return file_.tensors[i].cols() % format_of(type).qblock_values == 0;
      });
      if (!fits) continue;
      KldGroup::Option option{type, 0, 0};
      Variant variant(file_);
      double values = 0;
      for (const size_t i : group.tensors) {
        FARTHING_TRY(const TensorLoss loss, variant.replace(planned(i, type), i, team_));
        const auto n = static_cast<double>(file_.tensors[i].size());
        option.bytes += planned(i, type).bytes();
        option.error += loss.weighted * loss.weighted * n;
        values += n;
      }
      option.error /= values;
      if (option.error > most) {
        most = option.error;
        worst.emplace(std::move(variant));
      }
      group.options.push_back(option);
    }
    // Of two, the one with more bytes must be the better one.
    std::ranges::stable_sort(group.options, {}, &KldGroup::Option::bytes);
    std::vector<KldGroup::Option> useful;
    for (const KldGroup::Option& option : group.options) {
      if (!useful.empty() && option.error >= useful.back().error) continue;
      if (!useful.empty() && option.bytes == useful.back().bytes) useful.pop_back();
      useful.push_back(option);
    }
    group.options = std::move(useful);
    if (!(most > 0)) return {};
    FARTHING_TRY(const double kld, divergence(*worst));
    group.sensitivity = kld / most;
    return {};
  }

  Result<KldPlan> choose() {
    std::optional<KldPlan> best;
    std::vector<size_t> before;
    double correction = 1;
    for (int round = 0; round < kRounds; ++round) {
      const auto chosen = choose_options(groups_, options_.target, correction);
      if (!chosen || *chosen == before) break;
      before = *chosen;
      FARTHING_TRY_VOID(
          step(fmt::format("choice {}", round + 1), static_cast<int32_t>(groups_.size()) + 1));
      FARTHING_TRY(KldPlan made, measured(*chosen));
      double predicted = 0;
      for (size_t g = 0; g < groups_.size(); ++g)
        predicted += groups_[g].sensitivity * groups_[g].options[(*chosen)[g]].error;
      const double kld = made.kld;
      if (kld <= options_.target && (!best || made.plan.bytes() < best->plan.bytes()))
        best.emplace(std::move(made));
      if (!(predicted > 0) || (kld <= options_.target && kld >= kNearEnough * options_.target))
        break;
      // Always a little tighter than seems needed, or the last step would repeat itself.
      correction = kld / predicted * (kld > options_.target ? 1.03 : 1.0);
    }
    if (best) return *std::move(best);
    return Error{ErrorKind::kUnreachable,
                 fmt::format("--target-kld {}: no choice of types loses so little on this text: "
                             "give a larger one",
                             options_.target)};
  }

  Result<KldPlan> measured(const std::vector<size_t>& chosen) {
    KldPlan out{.plan = weighted_, .kld = 0, .groups = groups_, .chosen = chosen};
    Variant variant(file_);
    std::map<DType, int64_t> bytes;
    for (size_t g = 0; g < groups_.size(); ++g) {
      const DType type = groups_[g].options[chosen[g]].type;
      for (const size_t i : groups_[g].tensors) {
        out.plan.tensors[i].to = type;
        bytes[type] += out.plan.tensors[i].bytes();
        FARTHING_TRY([[maybe_unused]] const TensorLoss loss,
                     variant.replace(planned(i, type), i, team_));
      }
    }
    const auto most = std::ranges::max_element(bytes, {}, [](const auto& e) { return e.second; });
    for (const Mix& mix : all_mixes()) {
      if (mix.type == most->first && mix.extra != Mix::Extra::kSmall)
        out.plan.file_type = mix.file_type;
    }
    FARTHING_TRY(out.kld, divergence(variant));
    return out;
  }

  const ModelFile& file_;
  const ImportanceMatrix* importance_;
  const Windows& windows_;
  const KldPlanOptions& options_;
  ThreadTeam team_;
  std::vector<KldGroup> groups_;
  QuantizePlan weighted_;
  int32_t vocab_ = 0;
  std::vector<std::vector<float>> reference_;
};

}  // namespace

std::optional<std::vector<size_t>> choose_options(const std::vector<KldGroup>& groups,
                                                  double target,
                                                  double correction) {
  std::vector<size_t> chosen(groups.size(), 0);
  const auto kld_of = [&](size_t g, size_t option) {
    return correction * groups[g].sensitivity * groups[g].options[option].error;
  };
  const auto sum = [&] {
    double total = 0;
    for (size_t g = 0; g < groups.size(); ++g) total += kld_of(g, chosen[g]);
    return total;
  };
  while (sum() > target) {
    // The step up, of any height, that takes most away per byte.
    double most = 0;
    size_t best_group = 0, best_option = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      for (size_t o = chosen[g] + 1; o < groups[g].options.size(); ++o) {
        const auto more =
            static_cast<double>(groups[g].options[o].bytes - groups[g].options[chosen[g]].bytes);
        const double rate = (kld_of(g, chosen[g]) - kld_of(g, o)) / more;
        if (rate > most) {
          most = rate;
          best_group = g;
          best_option = o;
        }
      }
    }
    if (!(most > 0)) return std::nullopt;
    chosen[best_group] = best_option;
  }
  return chosen;
}

Result<KldPlan> plan_for_kld(const ModelFile& file,
                             const ImportanceMatrix* importance,
                             const Windows& windows,
                             const KldPlanOptions& options) {
  return Planner(file, importance, windows, options).plan();
}

}  // namespace farthing
