// Whole models against transformers (tests/golden/model/make.py): a toy of each family, 64 tokens.
#include <gtest/gtest.h>

#include "model/forward_for_tests.h"

namespace farthing {
namespace {

using testing::Distance;
using testing::distance;
using testing::Golden;
using testing::open_model;
using testing::Rig;
using testing::RigOptions;

// Logits' largest error over their range, where every step is float32.
constexpr double kFloatError = 1e-4;
// Of the error's energy, where activations are int8 and K and V are half precision.
constexpr double kQuantisedNmse = 1e-3;
// Where the weights, too, are rounded to int8, which the golden knows nothing of: a toy of peaked
// attention amplifies that to some 1e-3, a wrong scale or row to 1e-1 and more.
constexpr double kRoundedWeightsNmse = 5e-3;

class GoldenModel : public ::testing::TestWithParam<Golden> {
 protected:
  // Prints what it saw, so that a run's log shows the margin.
  Distance measure(const Model& model, const RigOptions& options, std::string_view what) {
    const Golden& golden = GetParam();
    Rig rig(model, options);
    const Distance d = distance(
        rig.logits_of(golden.tokens, static_cast<int32_t>(golden.tokens.size())), golden.logits);
    fmt::print("{:14} {:10} {:10} worst {:.1e} nmse {:.1e}\n",
               golden.name,
               isa_name(options.isa),
               what,
               d.worst,
               d.nmse);
    return d;
  }
};

TEST_P(GoldenModel, Float32OnReferenceKernels) {
  const auto model = open_model(GetParam().path, WeightMode::kF32);
  EXPECT_LE(measure(*model, {}, "f32").worst, kFloatError);
  EXPECT_LE(measure(*model, {.attention = AttentionMode::kNaive}, "f32 naive").worst, kFloatError);
}

TEST_P(GoldenModel, Float32OnEveryIsa) {
  const auto model = open_model(GetParam().path, WeightMode::kF32);
  for (Isa isa : supported_isas()) {
    EXPECT_LE(measure(*model, {.isa = isa, .n_threads = 2}, "f32").worst, kFloatError);
  }
}

TEST_P(GoldenModel, NativeWeightsOnEveryIsa) {
  const auto model = open_model(GetParam().path, WeightMode::kNative);
  for (Isa isa : supported_isas()) {
    for (KVType kv : {KVType::kF32, KVType::kF16}) {
      const auto what = kv == KVType::kF32 ? "native" : "native f16";
      const Distance d = measure(*model, {.isa = isa, .kv_type = kv}, what);
      EXPECT_LE(d.nmse, kQuantisedNmse);
    }
  }
}

TEST_P(GoldenModel, Int8WeightsOnEveryIsa) {
  const auto model = open_model(GetParam().path, WeightMode::kInt8);
  for (Isa isa : supported_isas()) {
    EXPECT_LE(measure(*model, {.isa = isa}, "int8").nmse, kRoundedWeightsNmse);
  }
}

INSTANTIATE_TEST_SUITE_P(Toys,
                         GoldenModel,
                         ::testing::ValuesIn(testing::read_goldens()),
                         [](const auto& row) { return testing::test_name(row.param.name); });

TEST(Goldens, EveryFamilyIsThere) {
  std::vector<std::string> names;
  for (const Golden& g : testing::read_goldens()) names.push_back(g.name);
  for (const char* name : {"llama-plain",
                           "llama-gqa",
                           "llama-tied",
                           "llama-rope3",
                           "llama-linear",
                           "llama-yarn",
                           "llama-bias",
                           "llama-q8",
                           "llama-types",
                           "mistral",
                           "qwen2",
                           "qwen3",
                           "gemma2",
                           "gemma3",
                           "gemma3-linear"}) {
    EXPECT_EQ(std::ranges::count(names, name), 1) << name;
  }
}

// The comparison itself must be able to fail.
TEST(Goldens, DistanceSeesASmallError) {
  const Golden golden = testing::read_goldens().front();
  std::vector<float> moved = golden.logits;
  moved[1234] += 0.01F;
  EXPECT_EQ(distance(golden.logits, golden.logits).worst, 0);
  EXPECT_GT(distance(moved, golden.logits).worst, kFloatError);
  moved[1234] = NAN;
  EXPECT_GT(distance(moved, golden.logits).worst, kFloatError);
}

}  // namespace
}  // namespace farthing
