#include "load/hf_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "load/safetensors_for_tests.h"

namespace farthing {
namespace {

namespace fs = std::filesystem;
using testing::encode;
using testing::FolderBytes;
using testing::FolderDoc;
using testing::StoredDoc;
using testing::tiny_folder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string refusal_of(const FolderBytes& folder) {
  const auto file = read_hf_folder(folder.view());
  if (file) return "accepted";
  EXPECT_EQ(file.error().kind, ErrorKind::kBadInput);
  EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
  return file.error().message;
}
std::string refusal_of(const FolderDoc& doc) {
  return refusal_of(doc.encode());
}

TEST(HfFolder, GivesWhatAGgufGives) {
  const FolderBytes bytes = tiny_folder().encode();
  const auto file = read_hf_folder(bytes.view());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->format, "Hugging Face folder");
  EXPECT_EQ(file->architecture, "llama");
  EXPECT_EQ(file->tensors.size(), 21U);
  const TensorView* q = file->find("blk.1.attn_q.weight");
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(q->rows(), 64);
  EXPECT_TRUE(q->make_rows);
  EXPECT_FALSE(file->find("blk.1.attn_v.weight")->make_rows);
  const auto number = [&](const char* key) { return **file->metadata.integer(key, 0, 1 << 30); };
  EXPECT_EQ(number("llama.block_count"), 2);
  EXPECT_EQ(number("llama.attention.head_count_kv"), 4);
  EXPECT_EQ(number("llama.rope.dimension_count"), 8);
  EXPECT_EQ(number("llama.vocab_size"), 16);
  ASSERT_TRUE(file->vocab);
  const Vocab& vocab = *file->vocab;
  EXPECT_EQ(vocab.model, "gpt2");
  EXPECT_EQ(vocab.pre, "gpt-2");
  EXPECT_EQ(vocab.tokens.size(), 16U);
  EXPECT_EQ(vocab.tokens[13], "ab");
  EXPECT_EQ(vocab.tokens[15], "[PAD15]");
  EXPECT_EQ(vocab.types[2], TokenType::kControl);
  EXPECT_EQ(vocab.types[3], TokenType::kNormal);
  EXPECT_EQ(vocab.types[14], TokenType::kUnused);
  EXPECT_THAT(vocab.merges, ElementsAre("a b"));
  EXPECT_EQ(vocab.bos, 0);
  EXPECT_EQ(vocab.eos, 1);
  EXPECT_EQ(vocab.eot, 2);
  EXPECT_EQ(vocab.add_bos, false);
  EXPECT_EQ(vocab.chat_template, "{{ messages[0].content }}");
  EXPECT_THAT(file->notes, IsEmpty());
}

// Row 2i of a head comes from its first half, row 2i + 1 from its second.
TEST(HfFolder, RowsOfQAreInterleaved) {
  const FolderBytes bytes = tiny_folder().encode();
  const auto file = read_hf_folder(bytes.view());
  ASSERT_TRUE(file);
  const TensorView& q = *file->find("blk.0.attn_q.weight");
  std::vector<std::byte> scratch;
  const int64_t sources[] = {8, 12, 9, 13, 10, 14, 11, 15};  // of the second head, 8 rows
  const std::byte* rows = q.rows_at(8, 8, scratch);
  for (int64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(std::memcmp(rows + i * q.row_bytes(),
                          q.bytes.data() + sources[i] * q.row_bytes(),
                          static_cast<size_t>(q.row_bytes())),
              0)
        << i;
  }
}

struct Change {
  const char* what;
  std::function<void(FolderDoc&)> apply;
  const char* message;  // part of it
};

TEST(HfFolder, RefusesConfigs) {
  const auto set = [](const char* key, Json value) {
    return [=](FolderDoc& d) { d.config[key] = value; };
  };
  const Change changes[] = {
      {"no type", [](FolderDoc& d) { d.config.erase("model_type"); }, "'model_type' is missing"},
      {"other type",
       set("model_type", "mamba"),
       "'mamba': farthing runs llama, mistral, qwen2, qwen3, gemma2, gemma3_text"},
      {"no layers", [](FolderDoc& d) { d.config.erase("num_hidden_layers"); }, "is missing"},
      {"many layers", set("num_hidden_layers", int64_t{1} << 40), "is outside"},
      {"text for a number", set("hidden_size", "64"), "key 'hidden_size': holds a string"},
      {"zero heads", set("num_attention_heads", 0), "is outside"},
      {"activation", set("hidden_act", "relu"), "key 'hidden_act'"},
      {"part of a head", set("partial_rotary_factor", 0.5), "key 'partial_rotary_factor'"},
      {"rope", set("rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2}}), "'dynamic'"},
      {"linear rope", set("rope_scaling", {{"type", "linear"}}), "'rope_scaling.factor' is missing"},
      {"llama3 rope",
       set("rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}}),
       "'rope_scaling.low_freq_factor' is missing"},
      {"large vocabulary", set("vocab_size", 1 << 21), "key 'vocab_size'"},
      {"an end without a number", set("eos_token_id", {1, "x"}), "key 'eos_token_id.1'"},
  };
  for (const Change& change : changes) {
    FolderDoc doc = tiny_folder();
    change.apply(doc);
    EXPECT_THAT(refusal_of(doc), HasSubstr(change.message)) << change.what;
  }
}

TEST(HfFolder, RefusesTensors) {
  const Change changes[] = {
      {"a stranger",
       [](FolderDoc& d) { d.weights.add("model.layers.0.self_attn.wild.weight", {2}); },
       "is none that a llama model has"},
      {"of integers",
       [](FolderDoc& d) { d.weights.tensor("model.norm.weight").dtype = "I32"; },
       "tensor 'model.norm.weight': I32 [64]"},
      {"a cube",
       [](FolderDoc& d) { d.weights.tensor("model.norm.weight").shape = {4, 4, 4}; },
       "one or two dimensions"},
      {"odd heads",
       [](FolderDoc& d) { d.weights.tensor("model.layers.0.self_attn.q_proj.weight").shape = {32, 128}; },
       "accepted"},  // model/weights.cc sees the wrong shape
      {"no heads",
       [](FolderDoc& d) { d.weights.tensor("model.layers.0.self_attn.q_proj.weight").shape = {4, 1024}; },
       "4 rows are no 8 heads"},
      {"no head", [](FolderDoc& d) { d.weights.tensors.pop_back(); }, "'lm_head.weight' is missing"},
      {"two names for one",
       [](FolderDoc& d) { d.weights.add("norm.weight", {64}); },
       "tensor 'output_norm.weight': occurs a second time"},
  };
  for (const Change& change : changes) {
    FolderDoc doc = tiny_folder();
    change.apply(doc);
    EXPECT_THAT(refusal_of(doc), HasSubstr(change.message)) << change.what;
  }
}

TEST(HfFolder, RefusesVocabularies) {
  const Change changes[] = {
      {"unigram",
       [](FolderDoc& d) { d.tokenizer["model"] = {{"type", "Unigram"}, {"vocab", {{"a", -1.5}}}}; },
       "BPE"},
      {"empty",
       [](FolderDoc& d) { d.tokenizer["model"]["vocab"] = Json::object(), d.tokenizer["added_tokens"] = Json::array(); },
       "the vocabulary is empty"},
      {"one id, two texts",
       [](FolderDoc& d) { d.tokenizer["model"]["vocab"]["z"] = 13; },
       "id 13 is"},
      {"one text, two ids",
       [](FolderDoc& d) { d.tokenizer["model"]["vocab"]["[PAD15]"] = 14; },
       "tokens 14 and 15 are both '[PAD15]'"},
      {"a large id",
       [](FolderDoc& d) { d.tokenizer["model"]["vocab"]["z"] = int64_t{1} << 40; },
       "id 1099511627776"},
      {"a negative id", [](FolderDoc& d) { d.tokenizer["model"]["vocab"]["z"] = -1; }, "text and id"},
      {"half a merge", [](FolderDoc& d) { d.tokenizer["model"]["merges"] = Json::array({"ab"}); }, "two parts"},
      {"three parts",
       [](FolderDoc& d) { d.tokenizer["model"]["merges"] = Json::parse(R"([["a", "b", "c"]])"); },
       "more than two parts"},
      {"an added token without id",
       [](FolderDoc& d) { d.tokenizer["added_tokens"][0].erase("id"); },
       "must have an id"},
  };
  for (const Change& change : changes) {
    FolderDoc doc = tiny_folder();
    change.apply(doc);
    EXPECT_THAT(refusal_of(doc), HasSubstr(change.message)) << change.what;
  }
}

TEST(HfFolder, MergesMayBePairs) {
  FolderDoc doc = tiny_folder();
  doc.tokenizer["model"]["merges"] = Json::parse(R"([["a", "b"]])");
  const FolderBytes bytes = doc.encode();
  const auto file = read_hf_folder(bytes.view());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_THAT(file->vocab->merges, ElementsAre("a b"));
}

TEST(HfFolder, GenerationConfigKnowsTheEndsBetter) {
  FolderDoc doc = tiny_folder();
  doc.generation_config = {{"eos_token_id", {2, 3}}};
  const FolderBytes bytes = doc.encode();
  const auto file = read_hf_folder(bytes.view());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->vocab->eos, 1);  // the tokenizer's own
  EXPECT_EQ(file->vocab->eot, 2);
  EXPECT_EQ(file->vocab->eom, 3);
}

// ---- shards ----

FolderBytes sharded() {
  FolderDoc doc = tiny_folder();
  FolderBytes out = doc.encode();
  out.shards.clear();
  Json places = Json::object();
  for (int i = 0; i < 2; ++i) {
    const std::string name = fmt::format("model-{:05}-of-00002.safetensors", i + 1);
    StoredDoc shard;
    const size_t half = doc.weights.tensors.size() / 2;
    for (size_t t = i == 0 ? 0 : half; t < (i == 0 ? half : doc.weights.tensors.size()); ++t) {
      places[doc.weights.tensors[t].name] = name;
      shard.tensors.push_back(doc.weights.tensors[t]);
    }
    out.shards.emplace_back(name, encode(shard));
  }
  out.index = Json{{"metadata", {{"total_size", 1}}}, {"weight_map", places}}.dump();
  return out;
}

TEST(HfFolder, ReadsShards) {
  const FolderBytes bytes = sharded();
  const auto names = shard_names(std::as_bytes(std::span(bytes.index)));
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_THAT(*names,
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"));
  const auto file = read_hf_folder(bytes.view());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors.size(), 21U);
  EXPECT_EQ(file->format, "Hugging Face folder of 2 shards");
}

TEST(HfFolder, RefusesIndexesThatLie) {
  const auto with = [](const std::function<void(Json&)>& change) {
    FolderBytes bytes = sharded();
    Json index = Json::parse(bytes.index);
    change(index);
    bytes.index = index.dump();
    return refusal_of(bytes);
  };
  EXPECT_THAT(with([](Json& j) { j["weight_map"]["model.norm.weight"] = "model-00001-of-00002.safetensors"; }),
              HasSubstr("tensor 'model.norm.weight': not in model-00001"));
  EXPECT_THAT(with([](Json& j) { j["weight_map"]["x.weight"] = "model-00001-of-00002.safetensors"; }),
              HasSubstr("tensor 'x.weight': not in"));
  EXPECT_THAT(with([](Json& j) { j["weight_map"].erase("model.norm.weight"); }),
              HasSubstr("20 tensors, the files hold 21"));
  EXPECT_THAT(with([](Json& j) { j.erase("weight_map"); }), HasSubstr("'weight_map' is missing"));
  EXPECT_THAT(with([](Json& j) { j["weight_map"] = {1}; }), HasSubstr("'weight_map'"));
  for (const char* name : {"../a.safetensors", "/a.safetensors", "a/b.safetensors", ".safetensors",
                           "model.bin", ""}) {
    const std::string index = Json{{"weight_map", {{"a", name}}}}.dump();
    const auto names = shard_names(std::as_bytes(std::span(index)));
    ASSERT_FALSE(names) << name;
    EXPECT_THAT(names.error().message, HasSubstr("no name of a safetensors file")) << name;
  }
}

// ---- on disk ----

class OnDisk : public ::testing::Test {
 protected:
  OnDisk() : folder_(fs::temp_directory_path() / fmt::format("farthing-hf-{}", ::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    const FolderBytes bytes = tiny_folder().encode();
    write("config.json", bytes.config);
    write("tokenizer.json", bytes.tokenizer);
    write("model.safetensors", bytes.shards[0].second);
  }
  ~OnDisk() override { fs::remove_all(folder_); }

  void write(const char* name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string refusal() const {
    const auto file = open_model_file(folder_.string());
    return file ? "accepted" : file.error().message;
  }

  fs::path folder_;
};

TEST_F(OnDisk, OpensLikeAFile) {
  const auto file = open_model_file(folder_.string() + "/");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->files.size(), 1U);
  EXPECT_FALSE(file->tokenizer_json.empty());
  const auto name = file->metadata.string("general.name");
  EXPECT_EQ(**name, folder_.filename().string());
  // Without a tokenizer_config, config.json names the ends.
  EXPECT_EQ(file->vocab->bos, 0);
  EXPECT_EQ(file->vocab->eos, 1);
}

TEST_F(OnDisk, SaysWhatIsMissing) {
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    fs::rename(folder_ / name, folder_ / "away");
    EXPECT_THAT(refusal(), HasSubstr(std::string(name) + " is missing")) << name;
    fs::rename(folder_ / "away", folder_ / name);
  }
  EXPECT_EQ(refusal(), "accepted");
  fs::rename(folder_ / "model.safetensors", folder_ / "pytorch_model.bin");
  EXPECT_THAT(refusal(), HasSubstr("farthing reads safetensors"));
}

TEST_F(OnDisk, AShardThatIsMissing) {
  write("model.safetensors.index.json", R"({"weight_map": {"a": "model-2.safetensors"}})");
  EXPECT_THAT(refusal(), HasSubstr("model-2.safetensors is missing"));
}

TEST_F(OnDisk, ATemplateInAFileOfItsOwn) {
  write("chat_template.jinja", "{{ 1 }}");
  const auto file = open_model_file(folder_.string());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->vocab->chat_template, "{{ 1 }}");
}

}  // namespace
}  // namespace farthing
