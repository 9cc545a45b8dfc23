// ModelSpec: an architecture as data. A family (model/arch/*.cc) fills one in from a file's
// metadata; the one forward loop (model/decoder.cc) reads nothing else. Something truly new is a
// new mixer or ffn in the variants.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace farthing {

// Rotary position embedding (Su et al., RoFormer, 2021).
struct RopeSpec {
  enum class Pairing : uint8_t {
    kAdjacent,  // (0,1), (2,3), ...: llama files, whose Q and K rows are permuted for it
    kHalves,    // (0, n/2), (1, n/2+1), ...: qwen, gemma
  };
  Pairing pairing = Pairing::kHalves;
  int32_t dims = 0;               // leading values of a head that are rotated; even
  std::vector<double> frequency;  // [dims / 2] radians per position, scaling included
  float magnitude = 1.0f;         // YaRN's attention factor, on cosine and sine
};

struct AttentionSpec {
  int32_t n_heads = 0;
  int32_t n_kv_heads = 0;  // divides n_heads
  int32_t head_dim = 0;
  int32_t rope = 0;      // index into ModelSpec::ropes
  int32_t window = 0;    // positions seen, the token's own included; 0: all
  float scale = 0;       // on q.k
  float softcap = 0;     // 0: none
  bool qk_norm = false;  // RMSNorm on each head of Q and K before RoPE
};

struct DenseFfnSpec {
  enum class Activation : uint8_t { kSilu, kGelu };  // gelu: the tanh form
  int32_t d_ff = 0;
  Activation activation = Activation::kSilu;
};

struct LayerSpec {
  std::variant<AttentionSpec> mixer;
  std::variant<DenseFfnSpec> ffn;
  bool post_norms = false;  // RMSNorm on what mixer and ffn add to the residual stream
};

struct ModelSpec {
  std::string architecture;
  int32_t d_model = 0;
  int32_t vocab_size = 0;
  int32_t context_length = 0;  // what the model was trained for
  float rms_eps = 0;
  float embedding_scale = 1.0f;
  float final_softcap = 0;  // on the logits; 0: none
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;

  int32_t n_layers() const { return static_cast<int32_t>(layers.size()); }
  const AttentionSpec& attention(int32_t layer) const {
    return std::get<AttentionSpec>(layers[layer].mixer);
  }
  const DenseFfnSpec& ffn(int32_t layer) const { return std::get<DenseFfnSpec>(layers[layer].ffn); }
};

}  // namespace farthing
