#include "tests/fuzz/base_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "load/gguf.h"

namespace farthing::fuzz {

using testing::encode;
using testing::GgufBytes;
using testing::GgufDoc;
using testing::GgufKey;
using testing::meta;
using testing::tiny_llama;

Base make_base(std::string name, GgufDoc doc) {
  GgufBytes file = encode(doc);
  return {std::move(name), std::move(doc), std::move(file)};
}

GgufDoc bpe_vocabulary() {
  GgufDoc doc;
  doc.version = 2;
  std::vector<std::string> tokens = {"<|endoftext|>"};
  std::vector<int32_t> types = {3};
  for (char c = '!'; c <= '~'; ++c) tokens.emplace_back(1, c);
  for (const char* word : {"th", "the", "in", "\xC4\xA0", "\xC4\xA0the"}) tokens.emplace_back(word);
  types.resize(tokens.size(), 1);
  doc.keys = {
      meta("general.architecture", "gpt2"),
      meta("tokenizer.ggml.model", "gpt2"),
      meta("tokenizer.ggml.pre", "gpt-2"),
      meta("tokenizer.ggml.tokens", tokens),
      meta("tokenizer.ggml.token_type", types),
      meta("tokenizer.ggml.merges", std::vector<std::string>{"t h", "th e", "i n", "\xC4\xA0 the"}),
      meta("tokenizer.ggml.eos_token_id", uint32_t{0})};
  return doc;
}

GgufDoc as_family(std::string_view family) {
  GgufDoc doc = tiny_llama();
  for (GgufKey& key : doc.keys) {
    if (key.key.starts_with("llama.")) key.key = std::string(family) + key.key.substr(5);
  }
  doc.set(meta("general.architecture", family));
  const std::string prefix(family);
  doc.set(meta(prefix + ".attention.key_length", uint32_t{16}));
  doc.set(meta(prefix + ".attention.value_length", uint32_t{16}));
  doc.set(meta(prefix + ".attention.sliding_window", uint32_t{32}));
  doc.set(meta(prefix + ".rope.scaling.type", "yarn"));
  doc.set(meta(prefix + ".rope.scaling.factor", 4.0F));
  doc.set(meta(prefix + ".rope.scaling.original_context_length", uint32_t{64}));
  return doc;
}

std::vector<Base> golden_models() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(FARTHING_SOURCE_DIR "/tests/golden/model")) {
    if (entry.path().extension() == ".gguf") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Base> out;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    Base& base = out.emplace_back();
    base.name = path.filename().string();
    base.file.bytes.assign(std::istreambuf_iterator<char>(in), {});
    Allowance allowance;
    const auto image = parse_gguf(base.file.span(), allowance);
    base.file.data_offset = image ? image->data_offset : base.file.bytes.size();
  }
  return out;
}

std::vector<Base> main_bases() {
  std::vector<Base> out;
  out.push_back(make_base("tiny-llama", tiny_llama()));
  out.push_back(make_base("bpe-vocabulary", bpe_vocabulary()));
  return out;
}

void for_each_well_formed(const Visit& visit) {
  Emitter emit(visit);
  for (const Base& base : main_bases()) emit.document(base, "as it is", [](GgufDoc&) {});
  for (const char* family : {"qwen2", "gemma3"}) {
    emit.document(make_base(family, as_family(family)), "as it is", [](GgufDoc&) {});
  }
  // The smallest of each kind, which a fuzzer turns into others soonest.
  emit([] {
    GgufDoc doc;
    doc.keys = {meta("general.architecture", "llama"), meta("general.alignment", uint32_t{8})};
    doc.tensors = {testing::TinyLlama::f32("a", {2})};
    return MalformedFile{"one tensor", encode(doc).bytes};
  });
  emit([] {
    GgufDoc doc;
    doc.keys = {meta("tokenizer.ggml.model", "llama"),
                meta("tokenizer.ggml.tokens", std::vector<std::string>{"a", "<0x41>"}),
                meta("tokenizer.ggml.token_type", std::vector<int32_t>{1, 6}),
                meta("tokenizer.ggml.scores", std::vector<float>{0, 1}),
                meta("tokenizer.ggml.merges", std::vector<std::string>{"a b"}),
                meta("tokenizer.ggml.bos_token_id", uint32_t{1})};
    return MalformedFile{"two tokens", encode(doc).bytes};
  });
}

}  // namespace farthing::fuzz
