#include "measure/ladder_quality.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/cpu.h"
#include "measure/perplexity.h"

namespace farthing {
namespace {

constexpr int32_t kWindow = 256;
constexpr int64_t kMostRowBytes = int64_t{512} << 20;  // of the reference's logits

}  // namespace

Result<const LoadedModel*> LadderModels::get(WeightMode mode) {
  auto& model = loaded[mode];
  if (model) return model.get();
  // Another is as large as the largest, about: float32.
  int64_t largest = 0;
  for (const auto& [other, there] : loaded)
    if (there) largest = std::max(largest, there->model->weights.tiles_bytes);
  if (memory_budget().available < 2 * largest) {
    for (auto& [other, there] : loaded) there.reset();
  }
  FARTHING_TRY(model, load_model(path, {.weights = mode}));
  return model.get();
}

bool is_four_bit(const LoadedModel& model) {
  double values = 0, bytes = 0;
  for (const TensorView& tensor : model.model->file.tensors) {
    if (tensor.rows() < 2 || tensor.n_dims < 2) continue;
    values += static_cast<double>(tensor.size());
    bytes += static_cast<double>(bytes_for(tensor.type, tensor.cols()) * tensor.rows());
  }
  // Q4_1 has 5 bits with its scales, Q4_K files about 5 with their larger head.
  return values > 0 && bytes * 8 / values < 6;
}

Status LadderQuality::measure(LadderModels& models,
                              const std::vector<LadderNumbers>& wanted,
                              const std::function<bool()>& stop,
                              const std::function<void(const std::string&)>& progress,
                              std::map<LadderNumbers, Quality>& out) const {
  FARTHING_TRY(const LoadedModel* reference, models.get(WeightMode::kF32));
  const int32_t vocab = reference->model->spec.vocab_size;
  const auto n_text = static_cast<int32_t>(text.size());
  const int32_t size = std::min({kWindow, n_text, reference->context_length()});
  if (size < 3) return {};
  const TokenId bos = reference->tokenizer.adds_bos() ? reference->tokenizer.bos() : -1;
  const int64_t row_bytes = int64_t{vocab} * static_cast<int64_t>(sizeof(float));
  const int64_t windows_that_fit = std::max<int64_t>(1, kMostRowBytes / (row_bytes * (size / 2)));
  const auto runner_of = [&](const LoadedModel& model, const LadderNumbers& numbers) {
    RunnerOptions options{.n_threads = machine.n_threads, .isa = machine.isa};
    options.memory_limit = memory_limit;
    options.decoder.kv_type = numbers.kv_type;
    options.decoder.attention = numbers.attention;
    return WindowRunner::create(*model.model, options, size);
  };
  const auto interrupted = [&]() -> Status {
    if (stop()) return Error{ErrorKind::kInterrupted, "interrupted"};
    return {};
  };

  // The reference's rows: as many windows as there is time for, for it and those compared with it.
  const TimePoint began = Clock::now();
  const Windows all(text, size, bos, static_cast<int32_t>(windows_that_fit));
  std::vector<std::vector<float>> rows;
  {
    FARTHING_TRY(WindowRunner runner,
                 runner_of(*reference, {WeightMode::kF32, KVType::kF32, AttentionMode::kNaive}));
    int32_t n_windows = all.count();
    for (int32_t w = 0; w < n_windows; ++w) {
      progress(fmt::format("quality: float32, window {} of {}", w + 1, n_windows));
      FARTHING_TRY_VOID(interrupted());
      auto& of_window =
          rows.emplace_back(static_cast<size_t>(all.n_scored()) * static_cast<size_t>(vocab));
      runner.run(all, w, [&](int32_t row, std::span<float> logits, TokenId) {
        std::copy_n(logits.begin(), vocab, of_window.begin() + int64_t{row} * vocab);
      });
      const double one = seconds_between(began, Clock::now()) / (w + 1);
      const double fits = seconds / (one * (1 + static_cast<double>(wanted.size())));
      n_windows = std::clamp(static_cast<int32_t>(std::min(fits, 1e6)), 1, all.count());
    }
  }
  const auto n_rows = static_cast<size_t>(all.n_scored());
  for (const LadderNumbers& numbers : wanted) {  // in the order of weight modes
    FARTHING_TRY(const LoadedModel* model, models.get(numbers.weights));
    FARTHING_TRY(WindowRunner runner, runner_of(*model, numbers));
    const CompareWindow compare = compare_by(runner, all, vocab);
    std::vector<RowComparison> found(n_rows * rows.size());
    for (size_t w = 0; w < rows.size(); ++w) {
      progress(fmt::format("quality: {} of {} ways to compute", out.size() + 1, wanted.size()));
      FARTHING_TRY_VOID(interrupted());
      FARTHING_TRY_VOID(
          compare(static_cast<int32_t>(w), rows[w], std::span(found).subspan(w * n_rows, n_rows)));
    }
    const Quality quality = summarise(found);
    if (!std::isfinite(quality.kld_mean.value))
      return runtime_failure("logits are no numbers: is the model file damaged?");
    out[numbers] = quality;
  }
  return {};
}

}  // namespace farthing
