#include "load/hf_tensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/utf8.h"

namespace farthing {
namespace {

std::optional<DType> plain_type(const StoredTensor& tensor) {
  if (tensor.is("F32")) return DType::kF32;
  if (tensor.is("F16")) return DType::kF16;
  if (tensor.is("BF16")) return DType::kBF16;
  return std::nullopt;
}

// "a.b.weight" is of module "a.b" and kind "weight".
std::string_view module_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == name.npos ? std::string_view() : name.substr(0, dot);
}
std::string_view kind_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == name.npos ? name : name.substr(dot + 1);
}

// What no forward pass of ours reads: the rotation's frequencies, which the config states, too; the
// ranges of activations and of cached keys and values that other engines round to.
bool is_ignored(std::string_view name) {
  constexpr std::string_view kKinds[] = {
      "inv_freq", "input_scale", "k_scale", "v_scale", "q_scale"};
  return std::ranges::find(kKinds, kind_of(name)) != std::end(kKinds);
}

class Binder {
 public:
  Binder(const HfTensorRules& rules,
         Allowance& allowance,
         std::vector<TensorView>& out,
         std::vector<std::vector<std::byte>>& made)
      : rules_(rules), allowance_(allowance), out_(out), made_(made) {}

  // A module and all that is stored of it.
  Status bind(std::string_view name, const HfParts& parts) {
    const auto module = find_module(*rules_.family, name, rules_.n_heads, rules_.n_kv_heads);
    if (!module) return bad_input("is none that a {} model has", rules_.family->model_type);
    if (module->gguf == "output" && rules_.tied) return {};
    constexpr size_t kMostParts = 16;
    if (parts.all().size() > kMostParts) return bad_input("is of more than {} parts", kMostParts);
    const bool quantised = is_quantised(parts);
    if (quantised) FARTHING_TRY_VOID(add_quantised(*module, parts));
    for (const auto& [kind, tensor] : parts.all()) {
      if (kind == "bias" || (kind == "weight" && !quantised)) {
        FARTHING_TRY_VOID(add(*tensor, *module, kind));
      } else if (!quantised) {
        return bad_input("has a part '{}' that farthing doesn't know", printable(kind));
      }
    }
    return {};
  }

  int64_t n_as_floats = 0;  // quantised matrices that no type of ours but F32 holds exactly

 private:
  Status take(const TensorView& view) {
    return allowance_.take(sizeof(TensorView) + Allowance::string_cost(view.name.size()) +
                           2 * sizeof(uint32_t) + 128);
  }

  Status add_quantised(const HfModule& module, const HfParts& parts) {
    if (module.plus_one || module.gguf == "token_embd") {
      return bad_input("is quantised, which farthing reads of a layer's matrices and lm_head only");
    }
    FARTHING_TRY(HfMatrix matrix, read_quantised(parts, rules_.quantisation, module.heads));
    n_as_floats += matrix.type == DType::kF32;
    TensorView view{.name = module.gguf + ".weight",
                    .type = matrix.type,
                    .dims = {matrix.cols, matrix.rows, 1, 1},
                    .n_dims = 2,
                    .bytes = matrix.bytes,
                    .make_rows = std::move(matrix.make_rows)};
    FARTHING_TRY_VOID(take(view));
    out_.push_back(std::move(view));
    return {};
  }

  Status add(const StoredTensor& tensor, const HfModule& module, std::string_view kind) {
    const auto type = plain_type(tensor);
    if (!type) {
      return bad_input("{}: farthing reads F32, F16 and BF16", tensor.describe());
    }
    if (tensor.n_dims < 1 || tensor.n_dims > 2 || tensor.size() == 0) {
      return bad_input("{}: must have one or two dimensions that aren't 0", tensor.describe());
    }
    TensorView view{.name = fmt::format("{}.{}", module.gguf, kind),
                    .type = *type,
                    .n_dims = static_cast<int>(tensor.n_dims),
                    .bytes = tensor.bytes};
    for (size_t d = 0; d < tensor.n_dims; ++d) view.dims[d] = tensor.shape[tensor.n_dims - 1 - d];
    FARTHING_TRY_VOID(take(view));
    if (module.heads > 0) FARTHING_TRY_VOID(interleave(tensor, module.heads, view));
    if (module.plus_one) FARTHING_TRY_VOID(add_one(tensor, view));
    out_.push_back(std::move(view));
    return {};
  }

  Status interleave(const StoredTensor& tensor, int64_t heads, TensorView& view) {
    const int64_t rows = tensor.shape[0];
    if (rows % heads != 0 || rows / heads % 2 != 0) {
      return bad_input(
          "{}: {} rows are no {} heads of an even size", tensor.describe(), rows, heads);
    }
    const RowOrder order{rows / heads};
    const size_t row_bytes = view.bytes.size() / static_cast<size_t>(rows);
    const auto make = [from = view.bytes.data(), row_bytes, order](
                          int64_t first, int64_t n, std::byte* out) {
      for (int64_t r = first; r < first + n; ++r, out += row_bytes) {
        std::memcpy(out, from + static_cast<size_t>(order.source(r)) * row_bytes, row_bytes);
      }
    };
    if (view.n_dims == 2) {
      view.make_rows = make;
      return {};
    }
    FARTHING_TRY(std::byte* const bytes, own(view, view.bytes.size()));
    make(0, rows, bytes);
    return {};
  }

  // GGUF keeps Gemma's norms in float32, with the 1.
  Status add_one(const StoredTensor& tensor, TensorView& view) {
    constexpr int64_t kMostValues = 1 << 20;
    if (view.n_dims != 1 || view.size() > kMostValues) {
      return bad_input("{}: a norm is a vector", tensor.describe());
    }
    std::vector<float> values(static_cast<size_t>(view.size()));
    format_of(view.type).decode(view.bytes.data(), values.data(), view.size());
    for (float& value : values) value += 1.0F;
    view.type = DType::kF32;
    FARTHING_TRY(std::byte* const bytes, own(view, values.size() * sizeof(float)));
    std::memcpy(bytes, values.data(), values.size() * sizeof(float));
    return {};
  }

  // Gives the view bytes of its own.
  Result<std::byte*> own(TensorView& view, size_t size) {
    FARTHING_TRY_VOID(allowance_.take(size));
    made_.emplace_back(size);
    view.bytes = made_.back();
    return made_.back().data();
  }

  const HfTensorRules& rules_;
  Allowance& allowance_;
  std::vector<TensorView>& out_;
  std::vector<std::vector<std::byte>>& made_;
};

}  // namespace

Status bind_hf_tensors(const HfTensorRules& rules,
                       const std::vector<StoredTensor>& stored,
                       Allowance& allowance,
                       std::vector<TensorView>& out,
                       std::vector<std::vector<std::byte>>& made,
                       std::vector<std::string>& notes) {
  std::vector<uint32_t> order;
  order.reserve(stored.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    if (!is_ignored(stored[i].name)) order.push_back(static_cast<uint32_t>(i));
  }
  std::ranges::sort(order, {}, [&](uint32_t i) {
    return std::pair(module_of(stored[i].name), kind_of(stored[i].name));
  });
  Binder binder(rules, allowance, out, made);
  for (size_t i = 0; i < order.size();) {
    const StoredTensor& first = stored[order[i]];
    const std::string_view module = module_of(first.name);
    HfParts parts;
    for (; i < order.size() && module_of(stored[order[i]].name) == module; ++i) {
      parts.add(kind_of(stored[order[i]].name), stored[order[i]]);
    }
    if (auto ok = binder.bind(module, parts); !ok) {
      return std::move(ok).error().in(fmt::format("tensor '{}'", printable(first.name)));
    }
  }
  if (binder.n_as_floats > 0) {
    notes.push_back(fmt::format(
        "{} quantised matrices become F32, which alone holds them exactly (groups in the "
        "order of activations, odd group sizes, or scales that are no f16)",
        binder.n_as_floats));
  }
  return {};
}

}  // namespace farthing
