// For tests: a safetensors file as plain data, and its encoding; and a tiny llama's folder. It
// writes what it is told, so that tests can lie.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "load/hf_folder.h"

namespace farthing::testing {

struct StoredDoc {
  struct Tensor {
    std::string name;
    std::string dtype = "F32";
    std::vector<int64_t> shape;
    std::string data;
    std::optional<std::pair<int64_t, int64_t>> range;  // else one after another
  };
  std::vector<Tensor> tensors;
  std::optional<std::string> header;  // instead of what the tensors say
  std::optional<uint64_t> length;     // of the header, instead of the truth
  std::string after;                  // bytes behind the last tensor

  // One of float32 values that differ.
  void add(std::string name, std::vector<int64_t> shape) {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    std::string data;
    for (int64_t i = 0; i < n; ++i) {
      const float value =
          0.01F * static_cast<float>((i * 37 + static_cast<int64_t>(name.size())) % 101 - 50);
      data.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    tensors.push_back({std::move(name), "F32", std::move(shape), std::move(data), {}});
  }
  Tensor& tensor(std::string_view name) {
    for (Tensor& t : tensors) {
      if (t.name == name) return t;
    }
    return tensors.front();
  }
};

inline std::string encode(const StoredDoc& doc) {
  std::string data;
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};
  std::string repeated;  // an object can't say a name twice
  for (const StoredDoc::Tensor& t : doc.tensors) {
    const auto begin = static_cast<int64_t>(data.size());
    data += t.data;
    const auto range = t.range.value_or(std::pair(begin, static_cast<int64_t>(data.size())));
    Json entry{
        {"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {range.first, range.second}}};
    if (header.contains(t.name)) {
      repeated += "," + Json(t.name).dump() + ":" + entry.dump();
    } else {
      header[t.name] = std::move(entry);
    }
  }
  std::string text = header.dump();
  text.insert(text.size() - 1, repeated);
  if (doc.header) text = *doc.header;
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = doc.length.value_or(text.size());
  std::string out(reinterpret_cast<const char*>(&length), sizeof length);
  return out + text + data + doc.after;
}

// The bytes of a folder; view() points into them.
struct FolderBytes {
  std::string config, generation_config, tokenizer, tokenizer_config, chat_template, index;
  std::vector<std::pair<std::string, std::string>> shards;

  HfFolder view() const {
    const auto bytes = [](const std::string& text) { return std::as_bytes(std::span(text)); };
    HfFolder folder{.config = bytes(config),
                    .generation_config = bytes(generation_config),
                    .tokenizer = bytes(tokenizer),
                    .tokenizer_config = bytes(tokenizer_config),
                    .chat_template = bytes(chat_template),
                    .index = bytes(index)};
    for (const auto& [name, text] : shards) folder.shards.push_back({name, bytes(text)});
    return folder;
  }
};

// A llama of 2 layers, 8 heads (of 8 values, if it is 64 wide), 4 KV heads, vocabulary 16, in a
// folder.
struct FolderDoc {
  Json config, generation_config, tokenizer, tokenizer_config;
  StoredDoc weights;

  FolderBytes encode() const {
    FolderBytes out;
    out.config = config.dump();
    if (!generation_config.is_null()) out.generation_config = generation_config.dump();
    out.tokenizer = tokenizer.dump();
    out.tokenizer_config = tokenizer_config.dump();
    out.shards.emplace_back("model.safetensors", testing::encode(weights));
    return out;
  }
};

inline FolderDoc tiny_folder(int64_t width = 64, int64_t ff = 96) {
  constexpr int64_t kVocab = 16;
  const int64_t kv = width / 2;
  FolderDoc doc;
  doc.config = {{"model_type", "llama"},
                {"hidden_size", width},
                {"intermediate_size", ff},
                {"num_hidden_layers", 2},
                {"num_attention_heads", 8},
                {"num_key_value_heads", 4},
                {"max_position_embeddings", 128},
                {"rms_norm_eps", 1e-5},
                {"vocab_size", kVocab},
                {"hidden_act", "silu"},
                {"rope_theta", 10000},
                {"rope_scaling", nullptr},
                {"tie_word_embeddings", false},
                {"bos_token_id", 0},
                {"eos_token_id", {1, 2}}};
  Json vocab = Json::object();
  for (int i = 0; i < 10; ++i) vocab[std::string(1, static_cast<char>('a' + i))] = 3 + i;
  vocab["ab"] = 13;
  doc.tokenizer = {
      {"version", "1.0"},
      {"added_tokens",
       {{{"id", 0}, {"content", "<s>"}, {"special", true}},
        {{"id", 1}, {"content", "</s>"}, {"special", true}},
        {{"id", 2}, {"content", "<end>"}, {"special", true}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"},
        {"add_prefix_space", false},
        {"trim_offsets", true},
        {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "ByteLevel"},
        {"add_prefix_space", true},
        {"trim_offsets", true},
        {"use_regex", true}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array({"a b"})}}}};
  doc.tokenizer_config = {{"bos_token", {{"content", "<s>"}}},
                          {"eos_token", "</s>"},
                          {"chat_template", "{{ messages[0].content }}"}};
  StoredDoc& w = doc.weights;
  w.add("model.embed_tokens.weight", {kVocab, width});
  for (int i = 0; i < 2; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    w.add(layer + "input_layernorm.weight", {width});
    w.add(layer + "self_attn.q_proj.weight", {width, width});
    w.add(layer + "self_attn.k_proj.weight", {kv, width});
    w.add(layer + "self_attn.v_proj.weight", {kv, width});
    w.add(layer + "self_attn.o_proj.weight", {width, width});
    w.add(layer + "post_attention_layernorm.weight", {width});
    w.add(layer + "mlp.gate_proj.weight", {ff, width});
    w.add(layer + "mlp.up_proj.weight", {ff, width});
    w.add(layer + "mlp.down_proj.weight", {width, ff});
  }
  w.add("model.norm.weight", {width});
  w.add("lm_head.weight", {kVocab, width});
  return doc;
}

}  // namespace farthing::testing
