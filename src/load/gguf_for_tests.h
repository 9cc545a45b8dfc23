// A GGUF file as plain data, and its encoding: tests build files, right and wrong, in memory.
// Owns: bytes. Does not know: what is valid; it writes what it is told, so that tests can lie.
// Source: the GGUF specification (ggml, docs/gguf.md).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "load/metadata.h"

namespace farthing::testing {

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

struct GgufKey {
  std::string key;
  MetaType type = MetaType::kUint32;
  std::string value;                    // encoded; of a string only the characters
  MetaType element = MetaType::kUint8;  // of an array
  std::vector<std::string> elements;    // each encoded as `value`
};

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims;
  uint32_t type = 0;  // ggml's number: 0 is F32, 8 is Q8_0
  std::string data;
  std::optional<uint64_t> offset;  // else one after another, aligned
};

struct GgufDoc {
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;  // states nothing by itself: add the key general.alignment
  std::vector<GgufKey> keys;
  std::vector<GgufTensor> tensors;

  GgufKey* find(std::string_view key) {
    for (GgufKey& k : keys) {
      if (k.key == key) return &k;
    }
    return nullptr;
  }
  // Replaces or adds.
  void set(GgufKey key) {
    GgufKey* old = find(key.key);
    if (old != nullptr)
      *old = std::move(key);
    else
      keys.push_back(std::move(key));
  }
  void erase(std::string_view key) {
    std::erase_if(keys, [&](const GgufKey& k) { return k.key == key; });
  }
  GgufTensor& tensor(std::string_view name) {
    for (GgufTensor& t : tensors) {
      if (t.name == name) return t;
    }
    tensors.push_back({std::string(name), {}, 0, "", std::nullopt});
    return tensors.back();
  }
};

// An integer in the encoded file.
struct GgufField {
  size_t offset = 0;
  size_t bytes = 0;
  std::string name;
};

struct GgufBytes {
  std::string bytes;
  std::vector<GgufField> fields;
  size_t data_offset = 0;

  std::span<const std::byte> span() const { return std::as_bytes(std::span(bytes)); }
};

template <class T>
constexpr MetaType meta_type_of() {
  if constexpr (std::is_same_v<T, bool>)
    return MetaType::kBool;
  else if constexpr (std::is_same_v<T, float>)
    return MetaType::kFloat32;
  else if constexpr (std::is_same_v<T, double>)
    return MetaType::kFloat64;
  else if constexpr (sizeof(T) == 1)
    return std::is_signed_v<T> ? MetaType::kInt8 : MetaType::kUint8;
  else if constexpr (sizeof(T) == 2)
    return std::is_signed_v<T> ? MetaType::kInt16 : MetaType::kUint16;
  else if constexpr (sizeof(T) == 4)
    return std::is_signed_v<T> ? MetaType::kInt32 : MetaType::kUint32;
  else
    return std::is_signed_v<T> ? MetaType::kInt64 : MetaType::kUint64;
}

template <class T>
  requires std::is_arithmetic_v<T>
GgufKey meta(std::string key, T value) {
  return {std::move(key), meta_type_of<T>(), raw(value), MetaType::kUint8, {}};
}
inline GgufKey meta(std::string key, std::string_view value) {
  return {std::move(key), MetaType::kString, std::string(value), MetaType::kUint8, {}};
}
inline GgufKey meta(std::string key, const char* value) {
  return meta(std::move(key), std::string_view(value));
}
inline GgufKey meta(std::string key, std::vector<std::string> values) {
  return {std::move(key), MetaType::kArray, "", MetaType::kString, std::move(values)};
}
template <class T>
  requires std::is_arithmetic_v<T>
GgufKey meta(std::string key, const std::vector<T>& values) {
  GgufKey out{std::move(key), MetaType::kArray, "", meta_type_of<T>(), {}};
  for (T value : values) out.elements.push_back(raw(value));
  return out;
}

namespace detail {

class Encoder {
 public:
  Encoder(GgufBytes& out, bool with_fields) : out_(out), with_fields_(with_fields) {}

  template <class T>
  void integer(T value, const std::string& name) {
    field(sizeof value, name);
    out_.bytes += raw(value);
  }
  void string(std::string_view text, const std::string& name) {
    integer<uint64_t>(text.size(), name + " length");
    out_.bytes += text;
  }
  void scalar(MetaType type, const std::string& value, const std::string& name) {
    if (type == MetaType::kString) return string(value, name);
    field(value.size(), name);
    out_.bytes += value;
  }
  void key(const GgufKey& k) {
    string(k.key, "key '" + k.key + "'");
    integer(static_cast<uint32_t>(k.type), k.key + " type");
    if (k.type != MetaType::kArray) return scalar(k.type, k.value, k.key + " value");
    integer(static_cast<uint32_t>(k.element), k.key + " element type");
    integer<uint64_t>(k.elements.size(), k.key + " count");
    for (size_t i = 0; i < k.elements.size(); ++i) {
      scalar(k.element,
             k.elements[i],
             with_fields_ ? k.key + " element " + std::to_string(i) : std::string());
    }
  }
  void tensor(const GgufTensor& t, uint64_t offset) {
    string(t.name, "tensor '" + t.name + "'");
    integer(static_cast<uint32_t>(t.dims.size()), t.name + " n_dims");
    for (uint64_t dim : t.dims) integer(dim, t.name + " dim");
    integer(t.type, t.name + " type");
    integer(offset, t.name + " offset");
  }

 private:
  void field(size_t bytes, const std::string& name) {
    if (with_fields_) out_.fields.push_back({out_.bytes.size(), bytes, name});
  }

  GgufBytes& out_;
  bool with_fields_;
};

}  // namespace detail

// Without `with_fields` it takes little more memory than the file.
inline GgufBytes encode(const GgufDoc& doc, bool with_fields = true) {
  const auto aligned = [&](uint64_t n) {
    return (n + doc.alignment - 1) / doc.alignment * doc.alignment;
  };
  GgufBytes out;
  detail::Encoder to(out, with_fields);
  out.bytes += doc.magic;
  to.integer(doc.version, "version");
  to.integer<uint64_t>(doc.tensors.size(), "n_tensors");
  to.integer<uint64_t>(doc.keys.size(), "n_keys");
  for (const GgufKey& key : doc.keys) to.key(key);
  std::string data;
  for (const GgufTensor& tensor : doc.tensors) {
    data.resize(aligned(data.size()));
    to.tensor(tensor, tensor.offset.value_or(data.size()));
    data += tensor.data;
  }
  if (!doc.tensors.empty()) out.bytes.resize(aligned(out.bytes.size()));
  out.data_offset = out.bytes.size();
  out.bytes += data;
  return out;
}

// A llama model in miniature: 2 layers, d 64, 4 heads (2 of keys and values), SentencePiece
// vocabulary of 290 tokens. Weights are zero: it is for readers, not for mathematics.
struct TinyLlama {
  static constexpr uint32_t kLayers = 2, kWidth = 64, kHeads = 4, kHeadsKv = 2, kHidden = 128,
                            kVocabulary = 290;

  static GgufDoc make() {
    GgufDoc doc;
    doc.keys = {
        meta("general.architecture", "llama"),
        meta("general.name", "tiny"),
        meta("general.alignment", uint32_t{32}),
        meta("llama.block_count", kLayers),
        meta("llama.context_length", uint32_t{256}),
        meta("llama.embedding_length", kWidth),
        meta("llama.feed_forward_length", kHidden),
        meta("llama.attention.head_count", kHeads),
        meta("llama.attention.head_count_kv", kHeadsKv),
        meta("llama.attention.layer_norm_rms_epsilon", 1e-5F),
        meta("llama.rope.dimension_count", kWidth / kHeads),
        meta("llama.rope.freq_base", 10000.0F),
        meta("llama.vocab_size", kVocabulary),
    };
    add_vocabulary(doc);
    add_tensors(doc);
    return doc;
  }

  static void add_vocabulary(GgufDoc& doc) {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> types = {2, 3, 3};
    constexpr char kHex[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; ++b) {
      tokens.push_back(std::string("<0x") + kHex[b / 16] + kHex[b % 16] + ">");
      types.push_back(6);
    }
    for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
    for (const char* word : {"\xE2\x96\x81", "th", "he", "the", "\xE2\x96\x81the"})
      tokens.emplace_back(word);
    std::vector<float> scores;
    for (size_t i = 0; i < tokens.size(); ++i) scores.push_back(-static_cast<float>(i));
    types.resize(tokens.size(), 1);
    doc.set(meta("tokenizer.ggml.model", "llama"));
    doc.set(meta("tokenizer.ggml.pre", "default"));
    doc.set(meta("tokenizer.ggml.tokens", std::move(tokens)));
    doc.set(meta("tokenizer.ggml.scores", scores));
    doc.set(meta("tokenizer.ggml.token_type", types));
    doc.set(meta("tokenizer.ggml.bos_token_id", uint32_t{1}));
    doc.set(meta("tokenizer.ggml.eos_token_id", uint32_t{2}));
    doc.set(meta("tokenizer.ggml.unknown_token_id", uint32_t{0}));
    doc.set(meta("tokenizer.ggml.add_bos_token", true));
    doc.set(meta("tokenizer.chat_template", "{{ messages[0].content }}"));
  }

  static GgufTensor f32(std::string name, std::vector<uint64_t> dims) {
    uint64_t values = 1;
    for (uint64_t dim : dims) values *= dim;
    return {std::move(name), std::move(dims), 0, std::string(values * 4, '\0'), std::nullopt};
  }
  static GgufTensor q8_0(std::string name, std::vector<uint64_t> dims) {
    uint64_t values = 1;
    for (uint64_t dim : dims) values *= dim;
    return {std::move(name), std::move(dims), 8, std::string(values / 32 * 34, '\0'), std::nullopt};
  }

  static void add_tensors(GgufDoc& doc) {
    constexpr uint64_t d = kWidth, d_kv = kWidth / kHeads * kHeadsKv, ff = kHidden;
    doc.tensors.push_back(q8_0("token_embd.weight", {d, kVocabulary}));
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      doc.tensors.push_back(f32(blk + "attn_norm.weight", {d}));
      doc.tensors.push_back(q8_0(blk + "attn_q.weight", {d, d}));
      doc.tensors.push_back(q8_0(blk + "attn_k.weight", {d, d_kv}));
      doc.tensors.push_back(q8_0(blk + "attn_v.weight", {d, d_kv}));
      doc.tensors.push_back(q8_0(blk + "attn_output.weight", {d, d}));
      doc.tensors.push_back(f32(blk + "ffn_norm.weight", {d}));
      doc.tensors.push_back(q8_0(blk + "ffn_gate.weight", {d, ff}));
      doc.tensors.push_back(q8_0(blk + "ffn_up.weight", {d, ff}));
      doc.tensors.push_back(q8_0(blk + "ffn_down.weight", {ff, d}));
    }
    doc.tensors.push_back(f32("output_norm.weight", {d}));
    doc.tensors.push_back(q8_0("output.weight", {d, kVocabulary}));
  }
};

inline GgufDoc tiny_llama() {
  return TinyLlama::make();
}

}  // namespace farthing::testing
