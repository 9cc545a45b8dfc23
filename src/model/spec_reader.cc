#include "model/spec_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/rope_scaling.h"

namespace farthing {
namespace {

// Ranges no real model leaves; they keep every later product far from overflow.
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxWidth = 1 << 17;
constexpr int64_t kMaxFfn = 1 << 20;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 512;
constexpr int64_t kMaxContext = 1 << 24;
constexpr int64_t kMaxVocab = 1 << 20;

Result<int32_t> read_head_dim(const SpecReader& reader, int64_t d_model, int64_t n_heads) {
  if (d_model % n_heads != 0 && !reader.has("attention.key_length")) {
    return bad_input("{} is {}, not a multiple of {} = {}",
                     reader.key("embedding_length"),
                     d_model,
                     reader.key("attention.head_count"),
                     n_heads);
  }
  FARTHING_TRY(const int64_t key,
               reader.integer_or("attention.key_length", 1, kMaxHeadDim, d_model / n_heads));
  if (key < 1 || key > kMaxHeadDim) {
    return bad_input("{} / {} is {}, outside 1..{}",
                     reader.key("embedding_length"),
                     reader.key("attention.head_count"),
                     key,
                     kMaxHeadDim);
  }
  FARTHING_TRY(const int64_t value,
               reader.integer_or("attention.value_length", 1, kMaxHeadDim, key));
  if (value != key) {
    return bad_input("{} is {} but {} is {}: they must be equal for this architecture",
                     reader.key("attention.value_length"),
                     value,
                     reader.key("attention.key_length"),
                     key);
  }
  return static_cast<int32_t>(key);
}

Result<int32_t> read_vocab_size(const SpecReader& reader, int64_t d_model) {
  const TensorView* embedding = reader.file().find("token_embd.weight");
  if (embedding == nullptr) return bad_input("tensor token_embd.weight is missing");
  if (embedding->n_dims != 2 || embedding->rows() > kMaxVocab) {
    return bad_input(
        "tensor token_embd.weight: expected [{}, vocabulary up to {}], found {} dimensions of {} x "
        "{}",
        d_model,
        kMaxVocab,
        embedding->n_dims,
        embedding->cols(),
        embedding->rows());
  }
  const int64_t size = embedding->rows();
  FARTHING_TRY(const int64_t stated, reader.integer_or("vocab_size", 1, kMaxVocab, size));
  if (stated != size) {
    return bad_input(
        "{} is {}, but token_embd.weight has {} rows", reader.key("vocab_size"), stated, size);
  }
  const auto& vocab = reader.file().vocab;
  if (vocab && vocab->tokens.size() > static_cast<size_t>(size)) {
    return bad_input("tokenizer.ggml.tokens has {} entries, but token_embd.weight has {} rows",
                     vocab->tokens.size(),
                     size);
  }
  return static_cast<int32_t>(size);
}

}  // namespace

std::string SpecReader::key(std::string_view suffix) const {
  return fmt::format("{}.{}", file_.architecture, suffix);
}

Result<int64_t> SpecReader::integer(std::string_view suffix, int64_t low, int64_t high) const {
  const std::string name = key(suffix);
  FARTHING_TRY(auto value, file_.metadata.integer(name, low, high));
  if (!value) return bad_input("{} is missing", name);
  return *value;
}

Result<int64_t> SpecReader::integer_or(std::string_view suffix,
                                       int64_t low,
                                       int64_t high,
                                       int64_t otherwise) const {
  FARTHING_TRY(auto value, file_.metadata.integer(key(suffix), low, high));
  return value.value_or(otherwise);
}

Result<std::vector<int32_t>> SpecReader::per_layer(std::string_view suffix,
                                                   int64_t low,
                                                   int64_t high,
                                                   int32_t n_layers) const {
  const std::string name = key(suffix);
  FARTHING_TRY(const auto values, file_.metadata.integers(name, low, high));
  if (!values) return bad_input("{} is missing", name);
  if (values->size() == 1) {
    return std::vector<int32_t>(static_cast<size_t>(n_layers),
                                static_cast<int32_t>(values->front()));
  }
  if (values->size() != static_cast<size_t>(n_layers)) {
    return bad_input("{} has {} values for {} layers", name, values->size(), n_layers);
  }
  return std::vector<int32_t>(values->begin(), values->end());
}

Result<double> SpecReader::number_or(std::string_view suffix,
                                     double low,
                                     double high,
                                     double otherwise) const {
  const std::string name = key(suffix);
  FARTHING_TRY(auto value, file_.metadata.number(name));
  if (!value) return otherwise;
  if (!(*value >= low && *value <= high)) {
    return bad_input("{} is {}, outside {}..{}", name, *value, low, high);
  }
  return *value;
}

Result<std::optional<std::string>> SpecReader::string(std::string_view suffix) const {
  return file_.metadata.string(key(suffix));
}

Result<ModelSpec> read_common_spec(const SpecReader& reader, RopeSpec::Pairing pairing) {
  ModelSpec spec;
  spec.architecture = reader.file().architecture;
  FARTHING_TRY(const int64_t n_layers, reader.integer("block_count", 1, kMaxLayers));
  FARTHING_TRY(const int64_t d_model, reader.integer("embedding_length", 1, kMaxWidth));
  FARTHING_TRY(const int64_t context, reader.integer("context_length", 1, kMaxContext));
  FARTHING_TRY(const double eps, reader.number_or("attention.layer_norm_rms_epsilon", 0, 1, -1.0));
  if (eps < 0) return bad_input("{} is missing", reader.key("attention.layer_norm_rms_epsilon"));
  FARTHING_TRY(const int64_t experts, reader.integer_or("expert_count", 0, 1 << 16, 0));
  if (experts > 0) {
    return bad_input("{} is {}: mixture-of-experts models are not supported yet",
                     reader.key("expert_count"),
                     experts);
  }
  const int32_t layers = static_cast<int32_t>(n_layers);
  FARTHING_TRY(const auto n_heads, reader.per_layer("attention.head_count", 1, kMaxHeads, layers));
  auto n_kv_heads = n_heads;
  if (reader.has("attention.head_count_kv")) {
    FARTHING_TRY(n_kv_heads, reader.per_layer("attention.head_count_kv", 1, kMaxHeads, layers));
  }
  FARTHING_TRY(const auto d_ff, reader.per_layer("feed_forward_length", 1, kMaxFfn, layers));
  FARTHING_TRY(const int32_t head_dim, read_head_dim(reader, d_model, n_heads[0]));
  spec.d_model = static_cast<int32_t>(d_model);
  spec.context_length = static_cast<int32_t>(context);
  spec.rms_eps = static_cast<float>(eps);
  FARTHING_TRY(RopeSpec rope, read_rope(reader, pairing, head_dim, spec.context_length));
  spec.ropes.push_back(std::move(rope));
  for (int32_t i = 0; i < layers; ++i) {
    if (n_heads[i] % n_kv_heads[i] != 0) {
      return bad_input("{} is {}, not a multiple of {} = {} (layer {})",
                       reader.key("attention.head_count"),
                       n_heads[i],
                       reader.key("attention.head_count_kv"),
                       n_kv_heads[i],
                       i);
    }
    AttentionSpec attention{
        .n_heads = n_heads[i], .n_kv_heads = n_kv_heads[i], .head_dim = head_dim};
    attention.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    spec.layers.push_back({attention, DenseFfnSpec{.d_ff = d_ff[i]}});
  }
  FARTHING_TRY(spec.vocab_size, read_vocab_size(reader, d_model));
  return spec;
}

}  // namespace farthing
