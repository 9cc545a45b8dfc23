#include "cli/memory_need.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "load/gguf_for_tests.h"

namespace farthing {
namespace {

using testing::encode;
using testing::GgufDoc;
using ::testing::HasSubstr;
using testing::meta;
using testing::tiny_llama;

MemoryNeed need_of(const GgufDoc& doc) {
  const std::string image = encode(doc).bytes;
  const auto file = read_model_image(std::as_bytes(std::span(image)));
  CHECK(file.has_value());
  return memory_need(*file);
}

// What is claimed is what the engine takes.
TEST(MemoryNeed, IsTheEngines) {
  const std::string path = FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf";
  const auto loaded = load_model(path, {});
  ASSERT_TRUE(loaded);
  const auto engine = Engine::start(**loaded, {});
  ASSERT_TRUE(engine);
  const auto file = open_model_file(path);
  ASSERT_TRUE(file);
  const MemoryNeed need = memory_need(*file);
  ASSERT_TRUE(need.run) << need.run.error().message;
  EXPECT_EQ(need.run->context, (*engine)->context());
  EXPECT_EQ(need.run->n_threads, (*engine)->n_threads());
  EXPECT_EQ(need.run->kv, (*engine)->kv_bytes());
  EXPECT_EQ(need.run->workspace, (*engine)->workspace_bytes());
  const Weights& weights = (*loaded)->model->weights;
  int64_t bytes = Buffer::bytes_taken(weights.tiles.size());
  for (const Buffer& vector : weights.owned) bytes += Buffer::bytes_taken(vector.size());
  if (!weights.tied) bytes += static_cast<int64_t>(file->find("token_embd.weight")->bytes.size());
  EXPECT_EQ(need.run->weights, bytes);
  EXPECT_GT(need.run->vocabulary, 0);
  EXPECT_GT(need.run->program, 0);
  // A toy's tensors are smaller than what its tokenizer might take: it isn't made.
  EXPECT_FALSE(need.run->tokenizer_measured);
  EXPECT_EQ(need.run->tokenizer, Tokenizer::memory_bound(*file->vocab));
}

TEST(MemoryNeed, SaysWhyItCannotBeTold) {
  GgufDoc doc = tiny_llama();
  doc.set(meta("general.architecture", "nonesuch"));
  MemoryNeed need = need_of(doc);
  ASSERT_FALSE(need.run);
  EXPECT_THAT(need.run.error().message, HasSubstr("nonesuch"));
  EXPECT_GT(need.weights, 0);

  doc = tiny_llama();
  doc.tensor("blk.1.ffn_up.weight").dims = {128, 64};
  need = need_of(doc);
  ASSERT_FALSE(need.run);
  EXPECT_THAT(need.run.error().message, HasSubstr("blk.1.ffn_up.weight"));

  doc.tensors.clear();
  need = need_of(doc);
  ASSERT_FALSE(need.run);
  EXPECT_THAT(need.run.error().message, HasSubstr("no tensors"));
}

}  // namespace
}  // namespace farthing
