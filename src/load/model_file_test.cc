#include "load/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "load/gguf_for_tests.h"
#include "load/limits.h"

namespace farthing {
namespace {

using ::testing::ElementsAre;
using testing::encode;
using testing::GgufBytes;
using testing::GgufDoc;
using ::testing::HasSubstr;
using testing::meta;
using testing::tiny_llama;
using testing::TinyLlama;

std::string refusal(const GgufDoc& doc) {
  const GgufBytes file = encode(doc);
  const auto model = read_model_image(file.span());
  if (model) return "accepted";
  EXPECT_EQ(model.error().kind, ErrorKind::kBadInput);
  EXPECT_EQ(model.error().message.find('\n'), std::string::npos);
  return model.error().message;
}

TEST(ModelFile, TinyLlama) {
  const GgufBytes file = encode(tiny_llama());
  const auto model = read_model_image(file.span());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->format, "GGUF v3");
  EXPECT_EQ(model->architecture, "llama");
  EXPECT_EQ(model->tensors.size(), 21U);
  ASSERT_NE(model->find("blk.1.ffn_down.weight"), nullptr);
  EXPECT_EQ(model->find("blk.1.ffn_down.weight")->cols(), 128);
  EXPECT_EQ(model->find("blk.2.ffn_down.weight"), nullptr);
  ASSERT_TRUE(model->vocab);
  EXPECT_EQ(model->vocab->model, "llama");
  EXPECT_EQ(model->vocab->tokens.size(), TinyLlama::kVocabulary);
  EXPECT_EQ(model->vocab->tokens.back(), "\xE2\x96\x81the");
  EXPECT_EQ(model->vocab->scores.size(), TinyLlama::kVocabulary);
  EXPECT_EQ(model->vocab->types[3], TokenType::kByte);
  EXPECT_EQ(model->vocab->bos, 1);
  EXPECT_EQ(model->vocab->padding, std::nullopt);
  EXPECT_EQ(model->vocab->add_bos, true);
  EXPECT_EQ(model->vocab->chat_template, "{{ messages[0].content }}");
  EXPECT_TRUE(model->notes.empty());
}

struct Change {
  const char* what;
  std::function<void(GgufDoc&)> apply;
  const char* message;  // part of it
};

TEST(ModelFile, RefusesBadVocabularies) {
  const auto strings = [](const char* key, auto change) {
    return [=](GgufDoc& doc) { change(doc.find(key)->elements); };
  };
  const Change cases[] = {
      {"empty",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.tokens", std::vector<std::string>{})); },
       "is empty"},
      {"of numbers",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.tokens", std::vector<int32_t>{1, 2})); },
       "holds an array of 2 int32, must be an array of string"},
      {"a string",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.tokens", "abc")); },
       "must be an array of string"},
      {"no model",
       [](GgufDoc& d) { d.erase("tokenizer.ggml.model"); },
       "key 'tokenizer.ggml.model' is missing"},
      {"no tokens",
       [](GgufDoc& d) { d.erase("tokenizer.ggml.tokens"); },
       "key 'tokenizer.ggml.tokens' is missing"},
      {"same token twice",
       strings("tokenizer.ggml.tokens", [](auto& t) { t[280] = t[270]; }),
       "key 'tokenizer.ggml.tokens': tokens 270 and 280 are both 'l'"},
      {"bad byte",
       strings("tokenizer.ggml.tokens", [](auto& t) { t[3] = "<0x-1>"; }),
       "token 3 is of type byte"},
      {"long byte",
       strings("tokenizer.ggml.tokens", [](auto& t) { t[3] = "<0x00>>"; }),
       "not of the form <0xNN>"},
      {"no byte",
       strings("tokenizer.ggml.tokens", [](auto& t) { t[3] = "\n"; }),
       "but '\\n' is not of the form"},
      {"few scores",
       strings("tokenizer.ggml.scores", [](auto& s) { s.pop_back(); }),
       "key 'tokenizer.ggml.scores': 289 values for 290 tokens"},
      {"score NaN",
       strings("tokenizer.ggml.scores", [](auto& s) { s[5] = testing::raw(std::nanf("")); }),
       "key 'tokenizer.ggml.scores': element 5 is not a number"},
      {"many types",
       strings("tokenizer.ggml.token_type", [](auto& t) { t.push_back(t[0]); }),
       "291 values for 290 tokens"},
      {"type 7",
       strings("tokenizer.ggml.token_type", [](auto& t) { t[9] = testing::raw(int32_t{7}); }),
       "element 9 is 7, must be 0 to 6"},
      {"type -1",
       strings("tokenizer.ggml.token_type", [](auto& t) { t[9] = testing::raw(int32_t{-1}); }),
       "is -1"},
      {"merge of one",
       [](GgufDoc& d) {
         d.set(meta("tokenizer.ggml.merges", std::vector<std::string>{"t h", "th"}));
       },
       "key 'tokenizer.ggml.merges': element 1 is 'th'"},
      {"merge with nothing",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.merges", std::vector<std::string>{"th "})); },
       "must be two parts"},
      {"bos",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.bos_token_id", uint32_t{290})); },
       "290 is outside [0, 289]"},
      {"eos",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.eos_token_id", int32_t{-1})); },
       "-1 is outside [0, 289]"},
      {"eos text",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.eos_token_id", "2")); },
       "must be an integer"},
      {"flag",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.add_bos_token", uint32_t{1})); },
       "must be a boolean"},
      {"template",
       [](GgufDoc& d) {
         d.set(meta("tokenizer.chat_template", std::string(kMaxTemplateBytes + 1, ' ')));
       },
       "key 'tokenizer.chat_template': 1048577 bytes"},
      {"template bytes",
       [](GgufDoc& d) { d.set(meta("tokenizer.chat_template", "ab\xFF")); },
       "key 'tokenizer.chat_template': not UTF-8 at byte 2"},
      {"charsmap",
       [](GgufDoc& d) { d.set(meta("tokenizer.ggml.precompiled_charsmap", "abc")); },
       "must be an array of uint8"},
  };
  for (const Change& c : cases) {
    GgufDoc doc = tiny_llama();
    c.apply(doc);
    EXPECT_THAT(refusal(doc), HasSubstr(c.message)) << c.what;
  }
}

TEST(ModelFile, OdditiesOfRealModelsAreNoted) {
  GgufDoc doc = tiny_llama();
  doc.set(meta("tokenizer.ggml.padding_token_id", uint32_t{290}));
  doc.find("tokenizer.ggml.tokens")->elements[270] = "";
  doc.find("tokenizer.ggml.tokens")->elements[271] =
      "\xFF\xFE";  // raw bytes are a token in some vocabularies
  const GgufBytes file = encode(doc);
  const auto model = read_model_image(file.span());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->vocab->padding, std::nullopt);
  EXPECT_EQ(model->vocab->tokens[270], "[EMPTY_270]");
  EXPECT_THAT(
      model->notes,
      ElementsAre(HasSubstr("1 empty tokens"), HasSubstr("tokenizer.ggml.padding_token_id")));
}

TEST(ModelFile, VocabularyOnlyAndWeightsOnly) {
  GgufDoc vocabulary = tiny_llama();
  vocabulary.tensors.clear();
  const GgufBytes file = encode(vocabulary);
  const auto model = read_model_image(file.span());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->tensors.empty());
  EXPECT_TRUE(model->vocab);

  GgufDoc weights = tiny_llama();
  std::erase_if(weights.keys, [](const auto& k) { return k.key.starts_with("tokenizer"); });
  EXPECT_EQ(refusal(weights), "accepted");
  weights.set(meta("tokenizer.ggml.model", "none"));
  EXPECT_EQ(refusal(weights), "accepted");
  weights.tensors.clear();
  EXPECT_THAT(refusal(weights), HasSubstr("neither tensors nor a vocabulary"));
}

TEST(ModelFile, RefusesBadNames) {
  const Change cases[] = {
      {"none",
       [](GgufDoc& d) { d.erase("general.architecture"); },
       "key 'general.architecture' is missing"},
      {"number",
       [](GgufDoc& d) { d.set(meta("general.architecture", uint32_t{1})); },
       "must be a string"},
      {"empty",
       [](GgufDoc& d) { d.set(meta("general.architecture", "")); },
       "no name of an architecture"},
      {"escape",
       [](GgufDoc& d) { d.set(meta("general.architecture", "\x1b[0m")); },
       "'\\u{1b}[0m' is no name"},
      {"tensor twice",
       [](GgufDoc& d) { d.tensor("blk.1.attn_q.weight").name = "blk.0.attn_q.weight"; },
       "tensor 'blk.0.attn_q.weight': occurs a second time"},
      {"a shard", [](GgufDoc& d) { d.set(meta("split.count", uint16_t{2})); }, "key 'split.count'"},
  };
  for (const Change& c : cases) {
    GgufDoc doc = tiny_llama();
    c.apply(doc);
    EXPECT_THAT(refusal(doc), HasSubstr(c.message)) << c.what;
  }
}

// A hash-collision attack can't make the duplicate check quadratic, and a full-size vocabulary
// passes the allowance.
TEST(ModelFile, TheLargestVocabularyIsReadAndOneMoreIsNot) {
  std::vector<std::string> tokens;
  for (uint64_t i = 0; i < kMaxVocabulary; ++i) tokens.push_back(fmt::format("{:x}", i));
  GgufDoc doc;
  doc.keys = {meta("tokenizer.ggml.model", "gpt2"), meta("tokenizer.ggml.tokens", tokens)};
  EXPECT_EQ(refusal(doc), "accepted");
  tokens.push_back("x");
  doc.set(meta("tokenizer.ggml.tokens", tokens));
  EXPECT_THAT(refusal(doc), HasSubstr("1048577 strings"));
}

class SplitTest : public ::testing::Test {
 protected:
  SplitTest()
      : folder_(std::filesystem::temp_directory_path() /
                fmt::format("farthing-split-{}", ::getpid())) {
    std::filesystem::create_directories(folder_);
    const GgufDoc whole = tiny_llama();
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (i == 0) shards_[i].keys = whole.keys;
      shards_[i].set(meta("split.no", static_cast<uint16_t>(i)));
      shards_[i].set(meta("split.count", static_cast<uint16_t>(shards_.size())));
      shards_[i].set(meta("split.tensors.count", static_cast<int32_t>(whole.tensors.size())));
    }
    for (size_t i = 0; i < whole.tensors.size(); ++i) {
      shards_[i / 8].tensors.push_back(whole.tensors[i]);
    }
  }
  ~SplitTest() override { std::filesystem::remove_all(folder_); }

  std::string path(int number) const {
    return (folder_ / fmt::format("m-{:05}-of-00003.gguf", number)).string();
  }
  void write() {
    for (size_t i = 0; i < shards_.size(); ++i) {
      std::ofstream(path(static_cast<int>(i) + 1), std::ios::binary) << encode(shards_[i]).bytes;
    }
  }
  std::string refused() {
    write();
    const auto model = open_model_file(path(1));
    return model ? "accepted" : model.error().message;
  }

  std::filesystem::path folder_;
  std::array<GgufDoc, 3> shards_;
};

TEST_F(SplitTest, AnyShardOpensAll) {
  write();
  for (int number : {1, 2, 3}) {
    const auto model = open_model_file(path(number));
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->files.size(), 3U);
    EXPECT_EQ(model->tensors.size(), 21U);
    EXPECT_NE(model->find("output_norm.weight"), nullptr);
    EXPECT_EQ(model->architecture, "llama");
    EXPECT_TRUE(model->vocab);
  }
}

TEST_F(SplitTest, RefusesWhatDoesNotBelongTogether) {
  write();
  std::filesystem::remove(path(2));
  const auto missing = open_model_file(path(1));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("m-00002-of-00003.gguf"));

  shards_[1].set(meta("split.no", uint16_t{2}));
  EXPECT_THAT(refused(), HasSubstr("key 'split.no': 2, must be 1"));
  shards_[1].set(meta("split.no", uint16_t{1}));
  shards_[2].set(meta("split.count", uint16_t{4}));
  EXPECT_THAT(refused(), HasSubstr("key 'split.count': 4, but the shards before say 3"));
  shards_[2].set(meta("split.count", uint16_t{3}));
  shards_[0].set(meta("split.tensors.count", int32_t{22}));
  EXPECT_THAT(refused(), HasSubstr("key 'split.tensors.count': 22, but the 3 shards hold 21"));
  shards_[0].erase("split.tensors.count");
  EXPECT_EQ(refused(), "accepted");
  shards_[1].tensors.push_back(shards_[0].tensors.front());
  EXPECT_THAT(refused(), HasSubstr("occurs a second time"));
}

TEST_F(SplitTest, ARenamedShardSaysSo) {
  write();
  const std::string other = (folder_ / "model.gguf").string();
  std::filesystem::copy_file(path(1), other);
  const auto model = open_model_file(other);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message, HasSubstr("rename it back"));
}

}  // namespace
}  // namespace farthing
