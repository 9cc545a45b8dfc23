// A Hugging Face folder and the GGUF of the same weights are one model to the last bit; the GGUFs
// are proved against transformers (golden_test.cc), and both were written by tools/toylib, whose
// folders transformers read for that. tests/golden/folder/make.py makes the folders.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "model/forward_for_tests.h"

namespace farthing {
namespace {

namespace fs = std::filesystem;
using testing::distance;
using testing::first_difference;
using testing::Golden;
using testing::must;
using testing::open_model;
using testing::Rig;

const std::string kFolders = FARTHING_SOURCE_DIR "/tests/golden/folder/";

std::vector<Golden> goldens_with_folders() {
  std::vector<Golden> out;
  for (Golden& golden : testing::read_goldens()) {
    if (fs::exists(kFolders + golden.name)) out.push_back(std::move(golden));
  }
  return out;
}

std::vector<std::byte> all_rows(const TensorView& tensor) {
  std::vector<std::byte> scratch;
  const std::byte* rows = tensor.rows_at(0, tensor.rows(), scratch);
  return {rows, rows + tensor.size_bytes()};
}

class FolderModel : public ::testing::TestWithParam<Golden> {
 protected:
  std::string folder() const { return kFolders + GetParam().name; }
};

TEST_P(FolderModel, TensorsAreTheGgufs) {
  const ModelFile folder = must(open_model_file(this->folder()));
  const ModelFile gguf = must(open_model_file(GetParam().path));
  EXPECT_EQ(folder.architecture, gguf.architecture);
  EXPECT_EQ(folder.tensors.size(), gguf.tensors.size());
  for (const TensorView& wanted : gguf.tensors) {
    const TensorView* tensor = folder.find(wanted.name);
    ASSERT_NE(tensor, nullptr) << wanted.name;
    EXPECT_EQ(tensor->type, wanted.type) << wanted.name;
    EXPECT_EQ(tensor->dims, wanted.dims) << wanted.name;
    EXPECT_TRUE(all_rows(*tensor) == all_rows(wanted)) << wanted.name;
  }
}

TEST_P(FolderModel, HyperParametersAreTheGgufs) {
  const ModelFile folder = must(open_model_file(this->folder()));
  const ModelFile gguf = must(open_model_file(GetParam().path));
  for (const auto& [key, value] : gguf.metadata.values) {
    if (!key.starts_with(gguf.architecture + ".") || std::holds_alternative<MetaArray>(value)) continue;
    const MetaValue* ours = folder.metadata.find(key);
    ASSERT_NE(ours, nullptr) << key;
    if (const auto* number = std::get_if<double>(&value)) {
      EXPECT_EQ(std::get<double>(*ours), *number) << key;
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      EXPECT_EQ(std::get<std::string>(*ours), *text) << key;
    } else {
      EXPECT_EQ(**folder.metadata.integer(key, 0, INT64_MAX),
                **gguf.metadata.integer(key, 0, INT64_MAX))
          << key;
    }
  }
}

TEST_P(FolderModel, VocabulariesAreTheGgufs) {
  const Vocab folder = must(open_model_file(this->folder())).vocab.value();
  const Vocab gguf = must(open_model_file(GetParam().path)).vocab.value();
  EXPECT_EQ(folder.model, gguf.model);
  EXPECT_EQ(folder.pre, gguf.pre);
  EXPECT_EQ(folder.tokens, gguf.tokens);
  EXPECT_EQ(folder.types, gguf.types);
  EXPECT_EQ(folder.merges, gguf.merges);
  EXPECT_EQ(folder.bos, gguf.bos);
  EXPECT_EQ(folder.eos, gguf.eos);
  EXPECT_EQ(folder.padding, gguf.padding);
  EXPECT_EQ(folder.add_bos, gguf.add_bos);
  EXPECT_EQ(folder.add_space_prefix.value_or(true), gguf.add_space_prefix.value_or(true));
  EXPECT_EQ(folder.chat_template, gguf.chat_template);
  // Scores are made of the merges: what counts is which piece is joined first.
  ASSERT_EQ(folder.scores.size(), gguf.scores.size());
  for (size_t i = 0; i + 1 < folder.scores.size(); ++i) {
    if (folder.scores[i] > folder.scores[i + 1]) EXPECT_GE(gguf.scores[i], gguf.scores[i + 1]) << i;
  }
}

TEST_P(FolderModel, LogitsAreTheGgufsAndTheReferences) {
  const Golden& golden = GetParam();
  const auto n = static_cast<int32_t>(golden.tokens.size());
  for (const WeightMode mode : {WeightMode::kNative, WeightMode::kF32, WeightMode::kInt8}) {
    const auto folder = open_model(this->folder(), mode);
    const auto gguf = open_model(golden.path, mode);
    for (const Isa isa : {Isa::kRef, best_isa()}) {
      Rig ours(*folder, {.isa = isa, .n_threads = 2});
      Rig theirs(*gguf, {.isa = isa, .n_threads = 2});
      const std::vector<float> logits = ours.logits_of(golden.tokens, n);
      EXPECT_EQ(first_difference(logits, theirs.logits_of(golden.tokens, n), ours.vocab()), -1)
          << isa_name(isa);
      if (mode == WeightMode::kF32) EXPECT_LE(distance(logits, golden.logits).worst, 1e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Toys,
                         FolderModel,
                         ::testing::ValuesIn(goldens_with_folders()),
                         [](const auto& row) { return testing::test_name(row.param.name); });

TEST(FolderModels, EveryFamilyIsThere) {
  std::vector<std::string> names;
  for (const Golden& g : goldens_with_folders()) names.push_back(g.name);
  EXPECT_THAT(names,
              ::testing::UnorderedElementsAre("llama-plain",
                                              "llama-gqa",
                                              "llama-tied",
                                              "llama-rope3",
                                              "llama-linear",
                                              "llama-yarn",
                                              "llama-bias",
                                              "mistral",
                                              "qwen2",
                                              "qwen3",
                                              "gemma2",
                                              "gemma3",
                                              "gemma3-linear"));
}

}  // namespace
}  // namespace farthing
