#include "measure/weights_note.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <vector>

namespace farthing {
namespace {

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

// The first figure of its name: "Q4_K", "IQ4_NL", "MXFP4".
char bits_of(DType type) {
  const std::string_view name = format_of(type).name;
  return name[name.find_first_of("0123456789")];
}

// Whether values in groups of 32 along the rows are of at most 16 different ones, as what was a
// 4-bit block once, in most of a sample. Trained weights, also in binary16 or bfloat16, are not.
bool is_on_a_grid(std::span<const TensorView* const> matrices) {
  constexpr int64_t kGroup = 32, kMostLevels = 16, kRowsEach = 16;
  int64_t n_groups = 0, n_coarse = 0;
  std::vector<float> row;
  std::vector<std::byte> scratch;
  for (const TensorView* tensor : matrices) {
    if (tensor->cols() % kGroup != 0) continue;
    row.resize(static_cast<size_t>(tensor->cols()));
    const int64_t step = std::max<int64_t>(1, tensor->rows() / kRowsEach);
    for (int64_t r = 0; r < tensor->rows(); r += step) {
      format_of(tensor->type).decode(tensor->rows_at(r, 1, scratch), row.data(), tensor->cols());
      for (int64_t k = 0; k < tensor->cols(); k += kGroup) {
        std::array<float, kGroup> group;
        std::copy_n(row.begin() + k, kGroup, group.begin());
        std::ranges::sort(group);
        const auto rest = std::ranges::unique(group);
        ++n_groups;
        n_coarse += kGroup - static_cast<int64_t>(rest.size()) <= kMostLevels ? 1 : 0;
      }
    }
  }
  return 2 * n_coarse > n_groups;
}

}  // namespace

std::string weights_note(std::string_view description, std::span<const TensorView> tensors) {
  std::map<DType, int64_t> values;
  std::vector<const TensorView*> matrices;
  for (const TensorView& tensor : tensors) {
    if (tensor.rows() < 2) continue;
    values[tensor.type] += tensor.size();
    matrices.push_back(&tensor);
  }
  if (values.empty()) return {};
  const DType most =
      std::ranges::max_element(values, {}, [](const auto& entry) { return entry.second; })->first;
  if (!is_float(most)) {
    const char bits = bits_of(most);
    return fmt::format("{}: {} {}-bit file", description, bits == '8' ? "an" : "a", bits);
  }
  if (is_on_a_grid(matrices))
    return fmt::format("{}: floats on a 4-bit grid (a dequantised file)", description);
  return {};
}

}  // namespace farthing
