#include "cli/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/loaded_model.h"

namespace farthing {
namespace {

using ::testing::HasSubstr;

TEST(Limits, CountsWhatTheDecodedTokensRead) {
  const auto model = load_model(FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf", {});
  ASSERT_TRUE(model);
  const ModelWork work(*(*model)->model, KVType::kF16);
  Answer answer;
  answer.usage = {.prompt_tokens = 10, .completion_tokens = 21};
  answer.timings = {.decode_seconds = 2};
  const MachineSpeed::Rates roofs{.read_gb_per_s = 4, .int8_gops = 8};
  const auto use = decode_use(work, answer, roofs);
  ASSERT_TRUE(use);
  // Twenty tokens, each behind those before it.
  Work sum;
  for (int32_t i = 0; i < 20; ++i) {
    sum += work_of({.n_gen = 1, .n_depth = 10 + i}, work, 1);
  }
  EXPECT_NEAR(use->gb_per_s, sum.bytes / 2e9, 1e-12 + sum.bytes * 1e-15);
  EXPECT_DOUBLE_EQ(use->read_fraction, use->gb_per_s / 4);
  EXPECT_NEAR(use->int8_fraction, sum.operations / 2e9 / 8, 1e-12);
}

TEST(Limits, SaysNothingOfTooLittle) {
  const auto model = load_model(FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf", {});
  ASSERT_TRUE(model);
  const ModelWork work(*(*model)->model, KVType::kF16);
  Answer answer;
  answer.usage = {.prompt_tokens = 10, .completion_tokens = 8};
  answer.timings = {.decode_seconds = 2};
  const MachineSpeed::Rates roofs{.read_gb_per_s = 4, .int8_gops = 8};
  EXPECT_FALSE(decode_use(work, answer, roofs));
  answer.usage.completion_tokens = 9;
  EXPECT_TRUE(decode_use(work, answer, roofs));
  EXPECT_FALSE(decode_use(work, answer, {}));
  answer.timings.decode_seconds = 0;
  EXPECT_FALSE(decode_use(work, answer, roofs));
}

TEST(Limits, NamesTheRoofThatIsMostUsed) {
  DecodeUse use{.gb_per_s = 17.5,
                .read_fraction = 0.61,
                .read_roof = 28.7,
                .gops = 50,
                .int8_fraction = 0.12};
  EXPECT_EQ(limit_words(use),
            "decode: 17.5 GB/s read, 61 % of what memory gives (28.7 GB/s); 12 % of the int8 peak: "
            "limited by memory bandwidth\n");
  EXPECT_EQ(limit_json(use)["limited_by"], "memory bandwidth");
  use.int8_fraction = 0.7;
  EXPECT_THAT(limit_words(use), HasSubstr("limited by compute"));
  use.read_fraction = use.int8_fraction = 0.3;
  EXPECT_THAT(limit_words(use), HasSubstr("neither"));
  EXPECT_EQ(limit_json(use)["limited_by"], "neither");
}

}  // namespace
}  // namespace farthing
