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

// Row r of the interleaved order is this row of the stored one.
int64_t interleaved(int64_t r, int64_t rows_per_head) {
  const int64_t in_head = r % rows_per_head;
  return r - in_head + in_head % 2 * (rows_per_head / 2) + in_head / 2;
}

class Binder {
 public:
  Binder(const HfTensorRules& rules,
         Allowance& allowance,
         std::vector<TensorView>& out,
         std::vector<std::vector<std::byte>>& made)
      : rules_(rules), allowance_(allowance), out_(out), made_(made) {}

  Status bind(const StoredTensor& tensor) {
    const std::string_view name = tensor.name;
    // Some exporters store the rotation's frequencies, which the config states, too.
    if (name.ends_with("rotary_emb.inv_freq")) return {};
    const size_t dot = name.rfind('.');
    const std::string_view kind = dot == name.npos ? std::string_view() : name.substr(dot + 1);
    const auto module =
        find_module(*rules_.family, name.substr(0, dot), rules_.n_heads, rules_.n_kv_heads);
    if (!module || (kind != "weight" && kind != "bias")) {
      return bad_input("is none that a {} model has", rules_.family->model_type);
    }
    if (module->gguf == "output" && rules_.tied) return {};
    const auto type = plain_type(tensor);
    if (!type) {
      return bad_input("{}: farthing reads F32, F16 and BF16", tensor.describe());
    }
    return add(tensor, *module, kind, *type);
  }

 private:
  Status add(const StoredTensor& tensor,
             const HfModule& module,
             std::string_view kind,
             DType type) {
    if (tensor.n_dims < 1 || tensor.n_dims > 2 || tensor.size() == 0) {
      return bad_input("{}: must have one or two dimensions that aren't 0", tensor.describe());
    }
    TensorView view{.name = fmt::format("{}.{}", module.gguf, kind),
                    .type = type,
                    .n_dims = static_cast<int>(tensor.n_dims),
                    .bytes = tensor.bytes};
    for (size_t d = 0; d < tensor.n_dims; ++d) view.dims[d] = tensor.shape[tensor.n_dims - 1 - d];
    FARTHING_TRY_VOID(allowance_.take(sizeof(TensorView) + Allowance::string_cost(view.name.size()) +
                                      2 * sizeof(uint32_t)));
    if (module.heads > 0) FARTHING_TRY_VOID(interleave(tensor, module.heads, view));
    if (module.plus_one) FARTHING_TRY_VOID(add_one(tensor, view));
    out_.push_back(std::move(view));
    return {};
  }

  Status interleave(const StoredTensor& tensor, int64_t heads, TensorView& view) {
    const int64_t rows = tensor.shape[0];
    if (rows % heads != 0 || rows / heads % 2 != 0) {
      return bad_input("{}: {} rows are no {} heads of an even size",
                       tensor.describe(),
                       rows,
                       heads);
    }
    const int64_t per_head = rows / heads;
    const int64_t row_bytes = static_cast<int64_t>(view.bytes.size()) / rows;
    const auto make = [from = view.bytes.data(), row_bytes, per_head](
                          int64_t first, int64_t n, std::byte* out) {
      for (int64_t r = first; r < first + n; ++r, out += row_bytes) {
        std::memcpy(out, from + interleaved(r, per_head) * row_bytes, static_cast<size_t>(row_bytes));
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
                       std::vector<std::vector<std::byte>>& made) {
  Binder binder(rules, allowance, out, made);
  for (const StoredTensor& tensor : stored) {
    if (auto ok = binder.bind(tensor); !ok) {
      return std::move(ok).error().in(fmt::format("tensor '{}'", printable(tensor.name)));
    }
  }
  return {};
}

}  // namespace farthing
