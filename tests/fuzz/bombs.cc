// Files that try to make a reader take much memory: many small things, or few large ones.
#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "tests/fuzz/base_files.h"

namespace farthing::fuzz {

using testing::encode;
using testing::GgufBytes;
using testing::GgufDoc;
using testing::GgufField;
using testing::meta;

void for_each_bomb(const Visit& visit) {
  Emitter emit(visit);
  const auto document = [&](std::string what, const std::function<void(GgufDoc&)>& fill) {
    emit([&] {
      GgufDoc doc;
      fill(doc);
      return MalformedFile{"bomb: " + what, encode(doc, /*with_fields=*/false).bytes};
    });
  };
  const auto vocabulary = [&](std::string what, auto&& token, bool merges) {
    document(std::move(what), [&](GgufDoc& doc) {
      constexpr size_t kTokens = size_t{1} << 20;
      std::vector<std::string> tokens;
      for (size_t i = 0; i < kTokens; ++i) tokens.push_back(token(i));
      doc.set(meta("tokenizer.ggml.model", "gpt2"));
      if (merges) {
        std::vector<std::string> pairs;
        for (const std::string& t : tokens) pairs.push_back(t + " b");
        doc.set(meta("tokenizer.ggml.merges", std::move(pairs)));
      }
      doc.set(meta("tokenizer.ggml.tokens", std::move(tokens)));
    });
  };
  vocabulary("2^20 empty tokens", [](size_t) { return std::string(); }, false);
  vocabulary("2^20 tokens of 5 bytes", [](size_t i) { return fmt::format("{:05x}", i); }, false);
  vocabulary(
      "2^20 tokens of 5 bytes and merges", [](size_t i) { return fmt::format("{:05x}", i); }, true);
  vocabulary("2^20 tokens of 16 bytes", [](size_t i) { return fmt::format("{:016x}", i); }, false);
  vocabulary(
      "2^20 tokens of 24 bytes and merges",
      [](size_t i) { return fmt::format("{:024x}", i); },
      true);
  document("65536 keys", [](GgufDoc& doc) {
    for (int i = 0; i < 65'536; ++i) doc.keys.push_back(meta(fmt::format("k{}", i), uint8_t{1}));
  });
  document("six strings of 16 MiB", [](GgufDoc& doc) {
    for (int i = 0; i < 6; ++i)
      doc.keys.push_back(meta(fmt::format("k{}", i), std::string(16 << 20, 'x')));
  });
  document("three strings of 16 MiB and a vocabulary", [](GgufDoc& doc) {
    doc = bpe_vocabulary();
    for (int i = 0; i < 3; ++i)
      doc.keys.push_back(meta(fmt::format("k{}", i), std::string(16 << 20, 'x')));
  });
  document("262144 tensors", [](GgufDoc& doc) {
    doc.alignment = 8;
    doc.set(meta("general.architecture", "llama"));
    doc.set(meta("general.alignment", uint32_t{8}));
    for (int i = 0; i < 262'144; ++i) {
      doc.tensors.push_back(testing::TinyLlama::f32(fmt::format("tensor.{:024}", i), {1}));
    }
  });
  emit([] {
    constexpr uint64_t kCount = uint64_t{1} << 26;
    GgufDoc doc = bpe_vocabulary();
    doc.keys.push_back(
        {"many", MetaType::kArray, "", MetaType::kUint8, {std::string(kCount, 'x')}});
    GgufBytes file = encode(doc);
    for (const GgufField& field : file.fields) {
      if (field.name == "many count")
        std::memcpy(file.bytes.data() + field.offset, &kCount, sizeof kCount);
    }
    return MalformedFile{"bomb: an array of 2^26 bytes", std::move(file.bytes)};
  });
}

}  // namespace farthing::fuzz
