#include "convert/mix.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace farthing {
namespace {

using Extra = Mix::Extra;

constexpr std::array kMixes = {
    Mix{"F32", DType::kF32, 0},
    Mix{"F16", DType::kF16, 1},
    Mix{"BF16", DType::kBF16, 32},
    Mix{"Q8_0", DType::kQ8_0, 7},
    Mix{"Q6_K", DType::kQ6_K, 18},
    Mix{"Q5_1", DType::kQ5_1, 9},
    Mix{"Q5_0", DType::kQ5_0, 8},
    Mix{"Q5_K_M", DType::kQ5_K, 17, Extra::kMedium},
    Mix{"Q5_K_S", DType::kQ5_K, 16, Extra::kSmall},
    Mix{"Q4_1", DType::kQ4_1, 3},
    Mix{"Q4_0", DType::kQ4_0, 2},
    Mix{"Q4_K_M", DType::kQ4_K, 15, Extra::kMedium},
    Mix{"Q4_K_S", DType::kQ4_K, 14, Extra::kSmall},
};

bool is_plain(DType type) {
  return format_of(type).qblock_values == 1;
}

// Small, or not the input of a matrix product.
constexpr std::string_view kKeptNames[] = {"_norm.weight",
                                           "ffn_gate_inp.weight",
                                           "position_embd",
                                           "token_types",
                                           "altup",
                                           "laurel",
                                           "per_layer_model_proj",
                                           "ssm_conv1d",
                                           "shortconv.conv",
                                           "attn_rel_b",
                                           "time_mix_"};

// N of "blk.N."; -1 if there is none.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t layer = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

// Where the mixes with "_M" spend: the first and last eighths, and every third layer between.
bool wants_more(int64_t i, int64_t n) {
  return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

// The 70B of the llama family, whose attn_v is an eighth of attn_q: more bits there cost little.
bool is_70b(const ModelFile& file) {
  const auto number = [&](const char* name) -> int64_t {
    const auto found = file.metadata.integer(fmt::format("llama.{}", name), 0, 1 << 20);
    return found && *found ? **found : 0;
  };
  return file.architecture == "llama" && number("block_count") == 80 &&
         number("attention.head_count") != number("attention.head_count_kv");
}

DType head_type(const Mix& mix, int64_t cols) {
  if (cols % format_of(mix.type).qblock_values != 0 || mix.type == DType::kQ8_0)
    return DType::kQ8_0;
  return DType::kQ6_K;
}

// Of the i-th of n matrices of this role, in the order of layers.
DType layer_type(
    const Mix& mix, TensorRole role, int64_t i, int64_t n, bool weighted, bool large_v) {
  DType type = mix.type;
  if (mix.extra == Extra::kMedium && wants_more(i, n)) return DType::kQ6_K;
  const bool first = role == TensorRole::kAttentionV ? i < 4 : i < n / 8;
  if (mix.extra == Extra::kSmall && mix.type == DType::kQ4_K && first) type = DType::kQ5_K;
  if (role == TensorRole::kFfnDown && weighted && i < n / 8) {
    if (mix.type == DType::kQ4_0) type = DType::kQ4_1;
    if (mix.type == DType::kQ5_0) type = DType::kQ5_1;
  }
  if (role == TensorRole::kAttentionV && large_v && type == DType::kQ4_K) type = DType::kQ5_K;
  return type;
}

}  // namespace

std::span<const Mix> all_mixes() {
  return kMixes;
}

const Mix* mix_from_name(std::string_view name) {
  const auto same = [](char a, char b) { return std::toupper(static_cast<unsigned char>(a)) == b; };
  for (const Mix& mix : kMixes) {
    if (std::ranges::equal(name, mix.name, same)) return &mix;
  }
  return nullptr;
}

TensorRole role_of(const TensorView& tensor, bool tied) {
  const std::string_view name = tensor.name;
  if (tensor.rows() < 2 || !name.ends_with("weight")) return TensorRole::kKept;
  for (const std::string_view kept : kKeptNames) {
    if (name.find(kept) != std::string_view::npos) return TensorRole::kKept;
  }
  if (name == "output.weight") return TensorRole::kHead;
  if (name == "token_embd.weight") return tied ? TensorRole::kHead : TensorRole::kEmbedding;
  if (name.find("attn_v.weight") != std::string_view::npos ||
      name.find("attn_qkv.weight") != std::string_view::npos)
    return TensorRole::kAttentionV;
  if (name.find("ffn_down") != std::string_view::npos) return TensorRole::kFfnDown;
  return TensorRole::kMatrix;
}

DType type_for_rows(DType type, int64_t cols) {
  const auto fits = [&](DType t) { return cols % format_of(t).qblock_values == 0; };
  if (fits(type)) return type;
  switch (type) {
    case DType::kQ4_K:
      type = DType::kQ5_0;
      break;
    case DType::kQ5_K:
      type = DType::kQ5_1;
      break;
    case DType::kQ6_K:
      type = DType::kQ8_0;
      break;
    default:
      return DType::kF16;
  }
  return fits(type) ? type : DType::kF16;
}

std::vector<DType> types_of(const Mix& mix, const ModelFile& file, bool weighted) {
  const bool tied = file.find("output.weight") == nullptr;
  const bool large_v = is_70b(file);
  std::vector<DType> types;
  std::vector<size_t> of_role[2];  // matrices whose type depends on the layer
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    const TensorView& tensor = file.tensors[i];
    const TensorRole role = role_of(tensor, tied);
    types.push_back(role == TensorRole::kKept ? tensor.type : mix.type);
    if (is_plain(mix.type)) continue;
    if (role == TensorRole::kHead) types.back() = head_type(mix, tensor.cols());
    if (role == TensorRole::kAttentionV) of_role[0].push_back(i);
    if (role == TensorRole::kFfnDown) of_role[1].push_back(i);
  }
  for (std::vector<size_t>& indices : of_role) {
    std::ranges::stable_sort(indices, {}, [&](size_t i) { return layer_of(file.tensors[i].name); });
    for (size_t i = 0; i < indices.size(); ++i) {
      types[indices[i]] = layer_type(mix,
                                     role_of(file.tensors[indices[i]], tied),
                                     static_cast<int64_t>(i),
                                     static_cast<int64_t>(indices.size()),
                                     weighted,
                                     large_v);
    }
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (role_of(file.tensors[i], tied) != TensorRole::kKept)
      types[i] = type_for_rows(types[i], file.tensors[i].cols());
  }
  return types;
}

}  // namespace farthing
