#include "load/hf_quant.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/half.h"
#include "load/hf_config.h"
#include "quant/layout.h"

namespace farthing {
namespace {

constexpr int64_t kBlock = 128;  // values of FP8 and INT8 that share a scale in our types

// A list of F32, F16 or BF16 numbers in the file.
struct Numbers {
  const std::byte* data = nullptr;
  int64_t size = 0;
  enum class Type : uint8_t { kF32, kF16, kBF16 } type = Type::kF32;

  float at(int64_t i) const {
    if (type == Type::kF32) {
      float value;
      std::memcpy(&value, data + i * 4, sizeof value);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, data + i * 2, sizeof bits);
    return type == Type::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
  // Whether an f16 can take the place of every number.
  bool are_halves() const {
    if (type == Type::kF16) return true;
    for (int64_t i = 0; i < size; ++i) {
      const float value = at(i);
      if (f16_to_f32(f32_to_f16(value)) != value) return false;
    }
    return true;
  }
};

Result<Numbers> numbers_of(const StoredTensor& tensor) {
  Numbers out{tensor.bytes.data(), tensor.size()};
  if (tensor.is("F16")) {
    out.type = Numbers::Type::kF16;
  } else if (tensor.is("BF16")) {
    out.type = Numbers::Type::kBF16;
  } else if (!tensor.is("F32")) {
    return bad_input("{} are {}, must be F32, F16 or BF16", tensor.name, tensor.describe());
  }
  return out;
}

uint32_t word_at(const std::byte* data, int64_t i) {
  uint32_t word;
  std::memcpy(&word, data + i * 4, sizeof word);
  return word;
}
int nibble_of(const std::byte* data, int64_t word, int64_t place) {
  return static_cast<int>(word_at(data, word) >> (4 * place) & 15);
}

// The part of that name, with its type and shape.
Result<const StoredTensor*> part(const HfParts& parts,
                                 std::string_view kind,
                                 std::string_view type,
                                 std::initializer_list<int64_t> shape) {
  const StoredTensor* tensor = parts.find(kind);
  if (tensor == nullptr) return bad_input("{} is missing", kind);
  const bool fits = tensor->n_dims == shape.size() &&
                    std::equal(shape.begin(), shape.end(), tensor->shape.begin());
  if ((!type.empty() && !tensor->is(type)) || !fits) {
    return bad_input("{} is {}, expected {} [{}]",
                     kind,
                     tensor->describe(),
                     type.empty() ? "numbers" : type,
                     fmt::join(shape, ", "));
  }
  return tensor;
}

// ---- INT4: how each packing gives nibble, zero point and scale of a stored row ----

// 8 inputs in a word: [inputs / 8][outputs]; zero points of 8 outputs in one.
struct Gptq {
  const std::byte *values, *zeros;
  Numbers scales;
  int64_t outputs;
  int less_one;

  int nibble(int64_t r, int64_t k) const { return nibble_of(values, k / 8 * outputs + r, k % 8); }
  int zero(int64_t r, int64_t g) const {
    // The sum wraps, as AutoGPTQ's does.
    return (nibble_of(zeros, g * (outputs / 8) + r / 8, r % 8) + less_one) & 15;
  }
  float scale(int64_t r, int64_t g) const { return scales.at(g * outputs + r); }
};

// 8 outputs in a word, even ones first: [inputs][outputs / 8].
struct Awq {
  const std::byte *values, *zeros;
  Numbers scales;
  int64_t outputs;

  static int64_t place(int64_t r) { return r % 2 * 4 + r % 8 / 2; }
  int nibble(int64_t r, int64_t k) const {
    return nibble_of(values, k * (outputs / 8) + r / 8, place(r));
  }
  int zero(int64_t r, int64_t g) const {
    return nibble_of(zeros, g * (outputs / 8) + r / 8, place(r));
  }
  float scale(int64_t r, int64_t g) const { return scales.at(g * outputs + r); }
};

// compressed-tensors: 8 inputs in a word: [outputs][inputs / 8]; all is offset by 8.
struct Packed {
  const std::byte *values, *zeros;  // zeros: nullptr for symmetric ones
  Numbers scales;
  int64_t words, groups;  // of a row

  int nibble(int64_t r, int64_t k) const { return nibble_of(values, r * words + k / 8, k % 8); }
  int zero(int64_t r, int64_t g) const {
    return zeros == nullptr ? 8 : nibble_of(zeros, r / 8 * groups + g, r % 8);
  }
  float scale(int64_t r, int64_t g) const { return scales.at(r * groups + g); }
};

template <int kGroups, class Source>
MakeRows int4_rows(Source source, RowOrder order, int64_t cols, int64_t group) {
  return [=](int64_t first, int64_t n, std::byte* out) {
    auto* block = reinterpret_cast<QBlockINT4<kGroups>*>(out);
    for (int64_t row = first; row < first + n; ++row) {
      const int64_t r = order.source(row);
      for (int64_t k = 0; k < cols; k += 32 * kGroups, ++block) {
        block->d = f32_to_f16(source.scale(r, k / group));
        block->zero = static_cast<uint16_t>(source.zero(r, k / group));
        for (int64_t g = 0; g < kGroups; ++g) {
          for (int64_t i = 0; i < 16; ++i) {
            const int low = source.nibble(r, k + 32 * g + i);
            const int high = source.nibble(r, k + 32 * g + 16 + i);
            block->qs[g][i] = static_cast<uint8_t>(low | high << 4);
          }
        }
      }
    }
  };
}

// The same as floats; `groups` is nullptr, or has the group of every column.
template <class Source>
MakeRows float_rows(
    Source source, RowOrder order, int64_t cols, int64_t group, const std::byte* groups) {
  const int64_t last = cols / group - 1;
  return [=](int64_t first, int64_t n, std::byte* out) {
    for (int64_t row = first; row < first + n; ++row) {
      const int64_t r = order.source(row);
      for (int64_t k = 0; k < cols; ++k, out += sizeof(float)) {
        // In range when it was checked; the file may have changed since.
        const int64_t g = groups == nullptr
                              ? k / group
                              : std::min(last, static_cast<int64_t>(word_at(groups, k)));
        const float value =
            source.scale(r, g) * static_cast<float>(source.nibble(r, k) - source.zero(r, g));
        std::memcpy(out, &value, sizeof value);
      }
    }
  };
}

template <class Source>
void choose_int4(
    const Source& source, RowOrder order, int64_t group, const std::byte* groups, HfMatrix& out) {
  const auto fits = [&](int64_t values) { return group % values == 0 && out.cols % values == 0; };
  if (groups != nullptr || !fits(32) || !source.scales.are_halves()) {
    out.type = DType::kF32;
    out.make_rows = float_rows(source, order, out.cols, group, groups);
  } else if (fits(128)) {
    out.type = DType::kINT4_G128;
    out.make_rows = int4_rows<4>(source, order, out.cols, group);
  } else if (fits(64)) {
    out.type = DType::kINT4_G64;
    out.make_rows = int4_rows<2>(source, order, out.cols, group);
  } else {
    out.type = DType::kINT4_G32;
    out.make_rows = int4_rows<1>(source, order, out.cols, group);
  }
}

Result<RowOrder> order_of(int64_t rows, int64_t heads) {
  if (heads == 0) return RowOrder{};
  if (rows % heads != 0 || rows / heads % 2 != 0) {
    return bad_input("{} rows are no {} heads of an even size", rows, heads);
  }
  return RowOrder{rows / heads};
}

// Nothing if every column is in the group of its place; else g_idx.
Result<const std::byte*> groups_of(const HfParts& parts,
                                   int64_t cols,
                                   int64_t group,
                                   int64_t n_groups) {
  const std::byte* none = nullptr;
  if (parts.find("g_idx") == nullptr) return none;
  FARTHING_TRY(const StoredTensor* tensor, part(parts, "g_idx", "I32", {cols}));
  bool in_order = true;
  for (int64_t k = 0; k < cols; ++k) {
    const int64_t g = word_at(tensor->bytes.data(), k);
    if (g >= n_groups) return bad_input("g_idx of column {} is {}, of {} groups", k, g, n_groups);
    in_order = in_order && g == k / group;
  }
  return in_order ? none : tensor->bytes.data();
}

// qweight, qzeros, scales, g_idx: GPTQ and AWQ.
Result<HfMatrix> read_words(const HfParts& parts, const HfQuantisation& how, int64_t heads) {
  const bool is_awq = how.method == "awq";
  if (!is_awq && how.method != "gptq") {
    return bad_input("qweight, but key 'quantization_config.quant_method' is neither gptq nor awq");
  }
  const StoredTensor& values = *parts.find("qweight");
  if (!values.is("I32") || values.n_dims != 2 || values.size() == 0) {
    return bad_input("qweight is {}, expected I32 of two dimensions", values.describe());
  }
  HfMatrix out{.bytes = values.bytes};
  out.rows = values.shape[1] * (is_awq ? 8 : 1);
  out.cols = values.shape[0] * (is_awq ? 1 : 8);
  const StoredTensor* scales = parts.find("scales");
  if (scales == nullptr || scales->n_dims != 2)
    return bad_input("scales, of two dimensions, are missing");
  const int64_t n_groups = scales->shape[0];
  if (n_groups == 0 || out.cols % n_groups != 0 || out.rows % 8 != 0) {
    return bad_input("{} inputs in {} groups, {} outputs", out.cols, n_groups, out.rows);
  }
  FARTHING_TRY_VOID(part(parts, "scales", "", {n_groups, out.rows}));
  FARTHING_TRY(const Numbers numbers, numbers_of(*scales));
  FARTHING_TRY(const StoredTensor* zeros, part(parts, "qzeros", "I32", {n_groups, out.rows / 8}));
  FARTHING_TRY(const RowOrder order, order_of(out.rows, heads));
  const int64_t group = out.cols / n_groups;
  FARTHING_TRY(const std::byte* const groups, groups_of(parts, out.cols, group, n_groups));
  const std::byte* zero_words = zeros->bytes.data();
  if (is_awq) {
    choose_int4(Awq{values.bytes.data(), zero_words, numbers, out.rows}, order, group, groups, out);
  } else {
    const int less_one = how.zeros_less_one ? 1 : 0;
    choose_int4(Gptq{values.bytes.data(), zero_words, numbers, out.rows, less_one},
                order,
                group,
                groups,
                out);
  }
  return out;
}

// weight_packed, weight_scale, weight_zero_point: compressed-tensors' pack-quantized.
Result<HfMatrix> read_packed(const HfParts& parts, int64_t heads) {
  const StoredTensor& values = *parts.find("weight_packed");
  if (!values.is("I32") || values.n_dims != 2 || values.size() == 0) {
    return bad_input("weight_packed is {}, expected I32 of two dimensions", values.describe());
  }
  HfMatrix out{.bytes = values.bytes};
  out.rows = values.shape[0];
  out.cols = values.shape[1] * 8;
  if (const StoredTensor* shape = parts.find("weight_shape")) {
    int64_t stated[2] = {0, 0};
    if (shape->is("I64") && shape->size() == 2)
      std::memcpy(stated, shape->bytes.data(), sizeof stated);
    if (stated[0] != out.rows || stated[1] != out.cols) {
      return bad_input("weight_shape is none of 4-bit values in {}", values.describe());
    }
  }
  if (parts.find("weight_g_idx") != nullptr) {
    return bad_input(
        "weight_g_idx: groups in the order of activations aren't read in this packing");
  }
  const StoredTensor* scales = parts.find("weight_scale");
  if (scales == nullptr || scales->n_dims != 2)
    return bad_input("weight_scale, of two dimensions, is missing");
  const int64_t n_groups = scales->shape[1];
  if (n_groups == 0 || out.cols % n_groups != 0) {
    return bad_input("{} inputs in {} groups", out.cols, n_groups);
  }
  FARTHING_TRY_VOID(part(parts, "weight_scale", "", {out.rows, n_groups}));
  FARTHING_TRY(const Numbers numbers, numbers_of(*scales));
  const std::byte* zeros = nullptr;
  if (parts.find("weight_zero_point") != nullptr) {
    FARTHING_TRY(const StoredTensor* stored,
                 part(parts, "weight_zero_point", "I32", {(out.rows + 7) / 8, n_groups}));
    zeros = stored->bytes.data();
  }
  FARTHING_TRY(const RowOrder order, order_of(out.rows, heads));
  choose_int4(Packed{values.bytes.data(), zeros, numbers, out.cols / 8, n_groups},
              order,
              out.cols / n_groups,
              nullptr,
              out);
  return out;
}

// ---- FP8 and INT8: bytes with a grid of scales ----

struct ScaleGrid {
  Numbers numbers;  // none: 1
  int64_t rows_each = 1, cols_each = 1, per_row = 1;

  float at(int64_t r, int64_t k) const {
    return numbers.data == nullptr ? 1.0F : numbers.at(r / rows_each * per_row + k / cols_each);
  }
};

Result<ScaleGrid> read_grid(const HfParts& parts, const HfQuantisation& how, const HfMatrix& m) {
  const StoredTensor* scale = parts.find("weight_scale_inv");
  if (scale == nullptr) scale = parts.find("weight_scale");
  ScaleGrid grid{.rows_each = m.rows, .cols_each = m.cols};
  if (scale == nullptr) return grid;
  FARTHING_TRY(grid.numbers, numbers_of(*scale));
  if (scale->size() == 1) return grid;
  const bool is_column = scale->n_dims == 1 || (scale->n_dims == 2 && scale->shape[1] == 1);
  if (is_column && scale->shape[0] == m.rows) {
    grid.rows_each = 1;
    return grid;
  }
  const auto blocks = [](int64_t n, int64_t each) { return (n + each - 1) / each; };
  if (scale->n_dims == 2 && scale->shape[0] == blocks(m.rows, how.block_rows) &&
      scale->shape[1] == blocks(m.cols, how.block_cols)) {
    grid.rows_each = how.block_rows;
    grid.cols_each = how.block_cols;
    grid.per_row = scale->shape[1];
    return grid;
  }
  return bad_input(
      "scales of {} fit neither the tensor, nor its {} rows, nor its blocks of {} x {}",
      scale->describe(),
      m.rows,
      how.block_rows,
      how.block_cols);
}

template <class QBlock>
MakeRows byte_rows(const std::byte* values, ScaleGrid grid, RowOrder order, int64_t cols) {
  return [=](int64_t first, int64_t n, std::byte* out) {
    auto* block = reinterpret_cast<QBlock*>(out);
    for (int64_t row = first; row < first + n; ++row) {
      const int64_t r = order.source(row);
      for (int64_t k = 0; k < cols; k += kBlock, ++block) {
        block->d = grid.at(r, k);
        std::memcpy(block->q, values + r * cols + k, kBlock);
      }
    }
  };
}

MakeRows byte_rows_as_floats(
    const std::byte* values, ScaleGrid grid, RowOrder order, int64_t cols, bool is_fp8) {
  return [=](int64_t first, int64_t n, std::byte* out) {
    for (int64_t row = first; row < first + n; ++row) {
      const int64_t r = order.source(row);
      for (int64_t k = 0; k < cols; ++k, out += sizeof(float)) {
        const auto bits = static_cast<uint8_t>(values[r * cols + k]);
        const float unscaled =
            is_fp8 ? e4m3_to_f32(bits) : static_cast<float>(static_cast<int8_t>(bits));
        const float value = grid.at(r, k) * unscaled;
        std::memcpy(out, &value, sizeof value);
      }
    }
  };
}

Result<HfMatrix> read_bytes(const HfParts& parts, const HfQuantisation& how, int64_t heads) {
  const StoredTensor& values = *parts.find("weight");
  const bool is_fp8 = values.is("F8_E4M3");
  if (values.n_dims != 2 || values.size() == 0) {
    return bad_input("weight is {}, expected two dimensions", values.describe());
  }
  HfMatrix out{.rows = values.shape[0], .cols = values.shape[1], .bytes = values.bytes};
  if (!is_fp8 && parts.find("weight_scale") == nullptr) {
    return bad_input("weight_scale of int8 values is missing");
  }
  if (parts.find("weight_zero_point") != nullptr) {
    return bad_input("weight_zero_point: int8 values with zero points aren't read");
  }
  FARTHING_TRY(const ScaleGrid grid, read_grid(parts, how, out));
  FARTHING_TRY(const RowOrder order, order_of(out.rows, heads));
  const bool whole_blocks =
      out.cols % kBlock == 0 && (grid.cols_each >= out.cols || grid.cols_each % kBlock == 0);
  if (!whole_blocks) {
    out.type = DType::kF32;
    out.make_rows = byte_rows_as_floats(values.bytes.data(), grid, order, out.cols, is_fp8);
  } else if (is_fp8) {
    out.type = DType::kFP8;
    out.make_rows = byte_rows<QBlockFP8>(values.bytes.data(), grid, order, out.cols);
  } else {
    out.type = DType::kINT8;
    out.make_rows = byte_rows<QBlockINT8>(values.bytes.data(), grid, order, out.cols);
  }
  return out;
}

}  // namespace

Result<HfQuantisation> read_quantisation(const Metadata& config) {
  const std::string prefix = "quantization_config.";
  HfQuantisation out;
  FARTHING_TRY(const auto method, config.string(prefix + "quant_method"));
  if (!method) return out;
  out.method = *method;
  if (out.method != "gptq" && out.method != "awq" && out.method != "fp8" &&
      out.method != "compressed-tensors") {
    return bad_input("key '{}quant_method': farthing reads gptq, awq, fp8 and compressed-tensors",
                     prefix);
  }
  if (out.method == "gptq" || out.method == "awq") {
    FARTHING_TRY(const auto bits, config.integer(prefix + "bits", 4, 4));
    if (!bits) return bad_input("key '{}bits' is missing", prefix);
  }
  FARTHING_TRY(const auto version, config.string(prefix + "version"));
  if (out.method == "awq" && version && *version != "gemm" && *version != "GEMM") {
    return bad_input("key '{}version': farthing reads gemm", prefix);
  }
  FARTHING_TRY(const auto format, config.string(prefix + "checkpoint_format"));
  out.zeros_less_one = !(format && *format == "gptq_v2");
  FARTHING_TRY(const auto block, integers_at(config, prefix + "weight_block_size", 1, 1 << 20));
  if (block.size() == 2) out.block_rows = block[0], out.block_cols = block[1];
  return out;
}

bool is_quantised(const HfParts& parts) {
  if (parts.find("qweight") != nullptr || parts.find("weight_packed") != nullptr) return true;
  const StoredTensor* weight = parts.find("weight");
  return weight != nullptr && (weight->is("F8_E4M3") || weight->is("I8"));
}

Result<HfMatrix> read_quantised(const HfParts& parts, const HfQuantisation& how, int64_t heads) {
  if (parts.find("qweight") != nullptr) return read_words(parts, how, heads);
  if (parts.find("weight_packed") != nullptr) return read_packed(parts, heads);
  return read_bytes(parts, how, heads);
}

}  // namespace farthing
