#include "load/hf_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/utf8.h"

namespace farthing {
namespace {

constexpr HfFamily kFamilies[] = {
    {.model_type = "llama", .architecture = "llama", .activation = "silu", .head_dim = 0,
     .rope_theta = 1e4, .window_period = 0, .tied = false, .interleaved = true, .gemma = false},
    {.model_type = "mistral", .architecture = "llama", .activation = "silu", .head_dim = 0,
     .rope_theta = 1e4, .window_period = 0, .tied = false, .interleaved = true, .gemma = false},
    {.model_type = "qwen2", .architecture = "qwen2", .activation = "silu", .head_dim = 0,
     .rope_theta = 1e4, .window_period = 0, .tied = false, .interleaved = false, .gemma = false},
    {.model_type = "qwen3", .architecture = "qwen3", .activation = "silu", .head_dim = 128,
     .rope_theta = 1e4, .window_period = 0, .tied = false, .interleaved = false, .gemma = false},
    {.model_type = "gemma2", .architecture = "gemma2", .activation = "gelu_pytorch_tanh",
     .head_dim = 256, .rope_theta = 1e4, .window_period = 2, .tied = true, .interleaved = false,
     .gemma = true},
    {.model_type = "gemma3_text", .architecture = "gemma3", .activation = "gelu_pytorch_tanh",
     .head_dim = 256, .rope_theta = 1e6, .window_period = 6, .tied = true, .interleaved = false,
     .gemma = true},
};

// Ranges that keep every later product far from overflow; model/spec_reader.cc has narrower ones.
constexpr int64_t kMost = int64_t{1} << 31;
constexpr int64_t kMostLayers = 4096;

// GGUF keeps floats as float32: a folder and the GGUF made of it must be the same model to the bit.
MetaValue as_gguf(double value) {
  return static_cast<double>(static_cast<float>(value));
}
MetaValue as_gguf(int64_t value) {
  return static_cast<uint64_t>(value);
}

class Config {
 public:
  Config(const HfFamily& family, const Metadata& json, Metadata& out)
      : family_(family), json_(json), out_(out) {}

  Status read() {
    out_.values.insert_or_assign("general.architecture", std::string(family_.architecture));
    FARTHING_TRY_VOID(read_sizes());
    FARTHING_TRY_VOID(check_activation());
    FARTHING_TRY_VOID(read_rope());
    FARTHING_TRY_VOID(family_.gemma ? read_gemma() : read_window());
    FARTHING_TRY(const double rotated, number("partial_rotary_factor", 1.0));
    if (rotated != 1.0) return unsupported("partial_rotary_factor", "1");
    return {};
  }

  Result<std::vector<float>> llama3_factors() const;

 private:
  template <class Value>
  void put(std::string_view suffix, Value value) {
    out_.values.insert_or_assign(fmt::format("{}.{}", family_.architecture, suffix),
                                 as_gguf(value));
  }

  Error unsupported(std::string_view key, std::string_view supported) const {
    return bad_input("key '{}': farthing runs {} models with {} only",
                     key,
                     family_.model_type,
                     supported);
  }

  Result<int64_t> required(std::string_view key) const {
    FARTHING_TRY(const auto value, json_.integer(key, 1, kMost));
    if (!value) return bad_input("key '{}' is missing", key);
    return *value;
  }
  Result<double> number(std::string_view key, double otherwise) const {
    FARTHING_TRY(const auto value, number_at(json_, key));
    return value.value_or(otherwise);
  }

  Status read_sizes() {
    constexpr std::pair<std::string_view, std::string_view> kSizes[] = {
        {"num_hidden_layers", "block_count"},
        {"max_position_embeddings", "context_length"},
        {"hidden_size", "embedding_length"},
        {"intermediate_size", "feed_forward_length"},
        {"num_attention_heads", "attention.head_count"},
        {"vocab_size", "vocab_size"},
    };
    for (const auto& [key, suffix] : kSizes) {
      FARTHING_TRY(const int64_t value, required(key));
      put(suffix, value);
    }
    FARTHING_TRY(n_layers_, required("num_hidden_layers"));
    if (n_layers_ > kMostLayers) {
      return bad_input("key 'num_hidden_layers': {}, at most {}", n_layers_, kMostLayers);
    }
    FARTHING_TRY(width_, required("hidden_size"));
    FARTHING_TRY(n_heads_, required("num_attention_heads"));
    FARTHING_TRY(const auto kv_heads, json_.integer("num_key_value_heads", 1, kMost));
    put("attention.head_count_kv", kv_heads.value_or(n_heads_));
    FARTHING_TRY(const auto eps, number_at(json_, "rms_norm_eps"));
    if (!eps) return bad_input("key 'rms_norm_eps' is missing");
    put("attention.layer_norm_rms_epsilon", *eps);
    FARTHING_TRY(const auto stated, json_.integer("head_dim", 1, kMost));
    const bool is_quotient = !stated && family_.head_dim == 0;
    head_dim_ = is_quotient ? width_ / n_heads_ : stated.value_or(family_.head_dim);
    if (!is_quotient) {
      put("attention.key_length", head_dim_);
      put("attention.value_length", head_dim_);
    }
    if (family_.interleaved && head_dim_ >= 2) put("rope.dimension_count", head_dim_);
    return {};
  }

  Status check_activation() const {
    for (const std::string_view key : {"hidden_activation", "hidden_act"}) {
      FARTHING_TRY(const auto name, json_.string(key));
      if (!name) continue;
      // Gemma's first configs say "gelu" and mean the tanh form: transformers reads them so, too.
      if (*name == family_.activation || (family_.gemma && *name == "gelu")) return {};
      return unsupported(key, family_.activation);
    }
    return {};
  }

  Status read_rope() {
    FARTHING_TRY(const double base, rope_number("rope_theta", family_.rope_theta));
    put("rope.freq_base", base);
    FARTHING_TRY(const std::string type, rope_type());
    if (type == "default" || type == "llama3") return {};  // llama3: rope_factors()
    if (type != "linear" && type != "yarn") {
      return bad_input("key 'rope_scaling.rope_type': '{}': farthing knows default, linear, yarn "
                       "and llama3",
                       printable(type));
    }
    out_.values.insert_or_assign(fmt::format("{}.rope.scaling.type", family_.architecture), type);
    if (type == "yarn") return read_yarn();
    FARTHING_TRY(const auto factor, rope_number("factor"));
    if (!factor) return bad_input("key 'rope_scaling.factor' is missing");
    put("rope.scaling.factor", *factor);
    return {};
  }

  Status read_yarn() {
    FARTHING_TRY(const int64_t context, required("max_position_embeddings"));
    FARTHING_TRY(const double original,
                 rope_number("original_max_position_embeddings", static_cast<double>(context)));
    if (!(original >= 1 && original <= static_cast<double>(kMost))) {
      return bad_input("key 'rope_scaling.original_max_position_embeddings': {} is outside [1, {}]",
                       original,
                       kMost);
    }
    FARTHING_TRY(const double factor,
                 rope_number("factor", static_cast<double>(context) / original));
    put("rope.scaling.factor", factor);
    put("rope.scaling.original_context_length", static_cast<int64_t>(original));
    FARTHING_TRY(const auto fast, rope_number("beta_fast"));
    FARTHING_TRY(const auto slow, rope_number("beta_slow"));
    if (fast) put("rope.scaling.yarn_beta_fast", *fast);
    if (slow) put("rope.scaling.yarn_beta_slow", *slow);
    // GGUF states a factor on top of 0.1 ln(factor) + 1, the config what takes its place.
    FARTHING_TRY(const auto magnitude, rope_number("attention_factor"));
    if (magnitude) {
      put("rope.scaling.yarn_attn_factor", *magnitude / (1.0 + 0.1 * std::log(factor)));
    }
    for (const std::string_view key : {"mscale", "mscale_all_dim"}) {
      FARTHING_TRY(const auto value, rope_number(key));
      if (value && !magnitude) return unsupported(fmt::format("rope_scaling.{}", key), "none");
    }
    FARTHING_TRY(const auto truncate, json_.boolean("rope_scaling.truncate"));
    if (truncate == false) return unsupported("rope_scaling.truncate", "true");
    return {};
  }

  // Old Mistral: every layer sees a window. Qwen's windows are switched off in all released models.
  Status read_window() {
    FARTHING_TRY(const auto window, json_.integer("sliding_window", 1, kMost));
    FARTHING_TRY(const auto used, json_.boolean("use_sliding_window"));
    FARTHING_TRY(const int64_t context, required("max_position_embeddings"));
    const bool is_mistral = family_.model_type == "mistral";
    if (!window || *window >= context || !used.value_or(is_mistral)) return {};
    if (!is_mistral) return unsupported("use_sliding_window", "false");
    put("attention.sliding_window", *window);
    return {};
  }

  Status read_gemma() {
    FARTHING_TRY(const auto window, json_.integer("sliding_window", 1, kMost));
    if (window) put("attention.sliding_window", *window);
    FARTHING_TRY_VOID(check_layer_types());
    FARTHING_TRY(const double scalar,
                 number("query_pre_attn_scalar", static_cast<double>(head_dim_)));
    // As model/arch/gemma.cc has it: the 27B models divide by the width per head.
    const bool is_27b = n_layers_ == (family_.architecture == "gemma2" ? 46 : 62);
    const int64_t wanted = is_27b ? width_ / n_heads_ : head_dim_;
    if (scalar != static_cast<double>(wanted)) {
      return unsupported("query_pre_attn_scalar", fmt::format("{}", wanted));
    }
    const bool is_2 = family_.architecture == "gemma2";
    FARTHING_TRY(const auto attention_cap, number_at(json_, "attn_logit_softcapping"));
    FARTHING_TRY(const auto final_cap, number_at(json_, "final_logit_softcapping"));
    if (is_2) put("attn_logit_softcapping", attention_cap.value_or(0.0));
    if (!is_2 && attention_cap) return unsupported("attn_logit_softcapping", "null");
    if (is_2 || final_cap) put("final_logit_softcapping", final_cap.value_or(0.0));
    FARTHING_TRY(const auto both_ways, json_.boolean("use_bidirectional_attention"));
    if (both_ways == true) return unsupported("use_bidirectional_attention", "false");
    return is_2 ? Status{} : read_local_rope();
  }

  Status read_local_rope() {
    FARTHING_TRY(const auto local, number_at(json_, "rope_parameters.sliding_attention.rope_theta"));
    FARTHING_TRY(const double base, number("rope_local_base_freq", local.value_or(10000.0)));
    put("rope.freq_base_swa", base);
    FARTHING_TRY(const auto type, json_.string("rope_parameters.sliding_attention.rope_type"));
    if (type && *type != "default") {
      return unsupported("rope_parameters.sliding_attention.rope_type", "default");
    }
    return {};
  }

  Status check_layer_types() const {
    FARTHING_TRY(const auto period, json_.integer("sliding_window_pattern", 0, kMost));
    if (period && *period != family_.window_period) {
      return unsupported("sliding_window_pattern", fmt::format("{}", family_.window_period));
    }
    for (int64_t i = 0; i < n_layers_; ++i) {
      const std::string key = fmt::format("layer_types.{}", i);
      FARTHING_TRY(const auto type, json_.string(key));
      if (!type) continue;
      const bool full = i % family_.window_period == family_.window_period - 1;
      const char* wanted = full ? "full_attention" : "sliding_attention";
      if (*type != wanted) return unsupported(key, wanted);
    }
    return {};
  }

  // Of the rope of the layers that see everything: under one of these, by the config's age.
  Result<std::optional<double>> rope_number(std::string_view key) const {
    for (const std::string_view prefix :
         {"rope_parameters.full_attention.", "rope_parameters.", "rope_scaling.", ""}) {
      if (prefix.empty() && key != "rope_theta") break;
      FARTHING_TRY(const auto value, number_at(json_, fmt::format("{}{}", prefix, key)));
      if (value) return value;
    }
    return std::optional<double>();
  }
  Result<double> rope_number(std::string_view key, double otherwise) const {
    FARTHING_TRY(const auto value, rope_number(key));
    return value.value_or(otherwise);
  }
  Result<std::string> rope_type() const {
    for (const std::string_view key : {"rope_parameters.full_attention.rope_type",
                                       "rope_parameters.rope_type",
                                       "rope_scaling.rope_type",
                                       "rope_scaling.type"}) {
      FARTHING_TRY(auto type, json_.string(key));
      if (type) return *std::move(type);
    }
    return std::string("default");
  }

  const HfFamily& family_;
  const Metadata& json_;
  Metadata& out_;
  int64_t n_layers_ = 0, width_ = 0, n_heads_ = 0, head_dim_ = 0;
};

// Llama 3.1 (its model card's reference code): long waves are divided by `factor`, short ones are
// left, and between the two it is ramped. In float32, as the converters of such models have it.
Result<std::vector<float>> Config::llama3_factors() const {
  FARTHING_TRY(const std::string type, rope_type());
  if (type != "llama3") return std::vector<float>();
  constexpr std::string_view kKeys[] = {
      "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"};
  float values[4];
  for (size_t i = 0; i < 4; ++i) {
    FARTHING_TRY(const auto value, rope_number(kKeys[i]));
    if (!value) return bad_input("key 'rope_scaling.{}' is missing", kKeys[i]);
    values[i] = static_cast<float>(*value);
    if (!(values[i] > 0)) return bad_input("key 'rope_scaling.{}': must be positive", kKeys[i]);
  }
  const auto [factor, low, high, context] = values;
  FARTHING_TRY(const double base, rope_number("rope_theta", family_.rope_theta));
  FARTHING_TRY(const int64_t width, required("hidden_size"));
  FARTHING_TRY(const int64_t heads, required("num_attention_heads"));
  FARTHING_TRY(const auto stated, json_.integer("head_dim", 1, kMost));
  const int64_t head_dim =
      stated.value_or(family_.head_dim > 0 ? family_.head_dim : width / heads);
  constexpr int64_t kMostHeadDim = 65'536;
  if (head_dim > kMostHeadDim) {
    return bad_input("key 'head_dim': {}, at most {}", head_dim, kMostHeadDim);
  }
  std::vector<float> factors;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float frequency = 1.0F / std::pow(static_cast<float>(base), exponent);
    const float wavelength = 2 * std::numbers::pi_v<float> / frequency;
    if (wavelength < context / high) {
      factors.push_back(1);
    } else if (wavelength > context / low) {
      factors.push_back(factor);
    } else {
      const float smooth = (context / wavelength - low) / (high - low);
      factors.push_back(1 / ((1 - smooth) / factor + smooth));
    }
  }
  return factors;
}

struct Name {
  std::string_view hf;
  std::string_view gguf;
};
constexpr Name kTopNames[] = {
    {"embed_tokens", "token_embd"}, {"norm", "output_norm"}, {"lm_head", "output"}};
constexpr Name kLayerNames[] = {
    {"input_layernorm", "attn_norm"},     {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},       {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},  {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},  {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},        {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
// What differs where a layer has four norms.
constexpr Name kGemmaNames[] = {
    {"post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
};

std::string_view find_name(std::span<const Name> names, std::string_view hf) {
  const auto it = std::ranges::find(names, hf, &Name::hf);
  return it == names.end() ? std::string_view() : it->gguf;
}

}  // namespace

Result<std::optional<double>> number_at(const Metadata& json, std::string_view key) {
  const MetaValue* value = json.find(key);
  if (value == nullptr) return std::optional<double>();
  if (const auto* n = std::get_if<uint64_t>(value)) return std::optional(static_cast<double>(*n));
  if (const auto* n = std::get_if<int64_t>(value)) return std::optional(static_cast<double>(*n));
  return json.number(key);
}

Result<std::vector<int64_t>> integers_at(const Metadata& json,
                                         std::string_view key,
                                         int64_t low,
                                         int64_t high) {
  std::vector<int64_t> out;
  if (json.find(key) != nullptr) {
    FARTHING_TRY(const auto one, json.integer(key, low, high));
    out.push_back(*one);
  }
  for (uint64_t i = 0; i < kMaxListLength; ++i) {
    FARTHING_TRY(const auto element, json.integer(fmt::format("{}.{}", key, i), low, high));
    if (!element) break;
    out.push_back(*element);
  }
  return out;
}

Result<const HfFamily*> find_family(const Metadata& config) {
  FARTHING_TRY(const auto type, config.string("model_type"));
  if (!type) return bad_input("key 'model_type' is missing: no config.json of a language model?");
  const auto* family = std::ranges::find(kFamilies, *type, &HfFamily::model_type);
  if (family != std::end(kFamilies)) return family;
  std::string known;
  for (const HfFamily& f : kFamilies) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", f.model_type);
  }
  return bad_input("key 'model_type': '{}': farthing runs {}", printable(*type), known);
}

Status read_hf_config(const HfFamily& family, const Metadata& config, Metadata& out) {
  return Config(family, config, out).read();
}

Result<std::vector<float>> rope_factors(const HfFamily& family, const Metadata& config) {
  Metadata unused;
  return Config(family, config, unused).llama3_factors();
}

Result<bool> is_tied(const HfFamily& family, const Metadata& config) {
  FARTHING_TRY(const auto tied, config.boolean("tie_word_embeddings"));
  return tied.value_or(family.tied);
}

std::optional<HfModule> find_module(const HfFamily& family,
                                    std::string_view module,
                                    int64_t n_heads,
                                    int64_t n_kv_heads) {
  constexpr std::string_view kModel = "model.", kLayers = "layers.";
  if (module.starts_with(kModel)) module.remove_prefix(kModel.size());
  if (!module.starts_with(kLayers)) {
    const std::string_view gguf = find_name(kTopNames, module);
    if (gguf.empty()) return std::nullopt;
    return HfModule{std::string(gguf), 0, family.gemma && gguf == "output_norm"};
  }
  module.remove_prefix(kLayers.size());
  uint32_t layer = 0;
  const auto [end, error] = std::from_chars(module.data(), module.data() + module.size(), layer);
  const auto digits = static_cast<size_t>(end - module.data());
  if (error != std::errc() || digits == module.size() || module[digits] != '.' ||
      layer >= kMostLayers) {
    return std::nullopt;
  }
  const std::string_view rest = module.substr(digits + 1);
  std::string_view gguf = family.gemma ? find_name(kGemmaNames, rest) : std::string_view();
  if (gguf.empty()) gguf = find_name(kLayerNames, rest);
  if (gguf.empty()) return std::nullopt;
  HfModule out{fmt::format("blk.{}.{}", layer, gguf)};
  out.plus_one = family.gemma && gguf.ends_with("norm");
  if (family.interleaved && gguf == "attn_q") out.heads = n_heads;
  if (family.interleaved && gguf == "attn_k") out.heads = n_kv_heads;
  return out;
}

}  // namespace farthing
