// What a Hugging Face folder's config.json says, as the GGUF keys that model/arch reads, and the
// names of its tensors as GGUF names. One row per family (hf_config.cc); a folder of another family
// is refused with the list. Does not know: files, tokenizers, how weights are stored.
// Source of keys and defaults: the configuration classes of the PyPI package `transformers`; of the
// GGUF side, what llama.cpp's converter writes for these families, so that both read alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "load/metadata.h"

namespace farthing {

struct HfFamily {
  std::string_view model_type;    // config.json
  std::string_view architecture;  // general.architecture
  std::string_view activation;
  int64_t head_dim;       // where the config states none; 0: hidden_size / num_attention_heads
  double rope_theta;      // where the config states none
  int32_t window_period;  // every so many layers one sees everything; 0: all layers are alike
  bool tied;              // lm_head is the embedding, where the config doesn't say
  // GGUF files of the architecture hold the rows of Q and K interleaved: in a head, row i of the
  // first half before row i of the second, for rotations of neighbours (model/spec.h).
  bool interleaved;
  bool gemma;  // four norms a layer; norms are stored without the 1 that GGUF files include
};

// The row for a flattened config.json. kBadInput names model_type and what is supported.
Result<const HfFamily*> find_family(const Metadata& config);

// Adds "<architecture>.*" and general.architecture to `out`. kBadInput names the key of config.json
// that is missing, out of range, or asks for what the family's forward pass doesn't do.
Status read_hf_config(const HfFamily& family, const Metadata& config, Metadata& out);

// By what each rotation frequency is divided (rope_freqs.weight); empty if the config asks for none.
Result<std::vector<float>> rope_factors(const HfFamily& family, const Metadata& config);

Result<bool> is_tied(const HfFamily& family, const Metadata& config);

// A number that JSON may write as an integer.
Result<std::optional<double>> number_at(const Metadata& json, std::string_view key);
// A list of integers of a flattened document ("key.0", "key.1" ...), or one integer.
Result<std::vector<int64_t>> integers_at(const Metadata& json,
                                         std::string_view key,
                                         int64_t low,
                                         int64_t high);

// Where a module's weights go.
struct HfModule {
  std::string gguf;         // "blk.3.attn_q": then ".weight" or ".bias"
  int64_t heads = 0;        // > 0: its rows are of so many heads, and are interleaved
  bool plus_one = false;    // a norm that is stored without its 1
};

// `module`: a tensor's name without its last part ("model.layers.3.self_attn.q_proj"). nullopt if
// the family has none of that name.
std::optional<HfModule> find_module(const HfFamily& family,
                                    std::string_view module,
                                    int64_t n_heads,
                                    int64_t n_kv_heads);

}  // namespace farthing
