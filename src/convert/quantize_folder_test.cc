#include "convert/quantize_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/half.h"
#include "load/safetensors_for_tests.h"

namespace farthing {
namespace {

namespace fs = std::filesystem;
using testing::FolderBytes;
using testing::FolderDoc;
using ::testing::HasSubstr;
using testing::tiny_folder;

std::vector<float> floats_of(const TensorView& tensor) {
  std::vector<std::byte> scratch;
  const std::byte* rows = tensor.rows_at(0, tensor.rows(), scratch);
  std::vector<float> out(static_cast<size_t>(tensor.size()));
  format_of(tensor.type).decode(rows, out.data(), tensor.size());
  return out;
}

class Folder : public ::testing::Test {
 protected:
  Folder() : root_(fs::temp_directory_path() / fmt::format("farthing-quantize-{}", ::getpid())) {
    fs::remove_all(root_);
    fs::create_directories(root_ / "in");
  }
  ~Folder() override { fs::remove_all(root_); }

  void write(const FolderDoc& doc) const {
    const FolderBytes bytes = doc.encode();
    const auto put = [&](const char* name, const std::string& text) {
      std::ofstream(root_ / "in" / name, std::ios::binary) << text;
    };
    put("config.json", bytes.config);
    put("tokenizer.json", bytes.tokenizer);
    put("tokenizer_config.json", bytes.tokenizer_config);
    put("model.safetensors", bytes.shards[0].second);
  }
  std::string in() const { return (root_ / "in").string(); }
  std::string out() const { return (root_ / "out").string(); }
  size_t n_beside() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(root_), {})) - 1;
  }

  // Reads, plans and writes; what went wrong, or nothing.
  std::string quantise(const char* type, const FolderOptions& options = {}) {
    auto file = open_model_file(in());
    if (!file) return file.error().message;
    const auto plan = plan_folder(*file, in(), *folder_type_from_name(type), nullptr);
    if (!plan) return plan.error().message;
    ThreadTeam team(2);
    const auto done =
        write_folder(*plan, out(), options, team, [&](size_t, int64_t, const TensorLoss* loss) {
          worst_ = std::max(worst_, loss->error);
          return ++n_told_ < stop_after_;
        });
    return done ? "" : done.error().message;
  }

  fs::path root_;
  double worst_ = 0;
  int n_told_ = 0;
  int stop_after_ = 1000;
};

// What each type's arithmetic says of a matrix, rows as the GGUF has them.
std::vector<float> expected(const FolderType& type, int64_t group, const TensorView& source) {
  const std::vector<float> w = floats_of(source);
  const int64_t cols = source.cols(), rows = source.rows();
  std::vector<float> out(w.size());
  if (type.kind == FolderType::Kind::kInt4) {
    ThreadTeam team(1);
    const auto made = quantize_int4({w.data(), rows, cols}, group, Int4Method::kFit, {}, team);
    for (int64_t i = 0; i < rows * cols; ++i)
      out[static_cast<size_t>(i)] = made->value(i / cols, i % cols);
    return out;
  }
  for (int64_t r = 0; r < rows; ++r) {
    float most = 0;
    for (int64_t c = 0; c < cols; ++c)
      most = std::max(most, std::fabs(w[static_cast<size_t>(r * cols + c)]));
    for (int64_t c = 0; c < cols; ++c) {
      const auto i = static_cast<size_t>(r * cols + c);
      out[i] = most / 127 * std::nearbyint(w[i] / (most / 127));
    }
  }
  return out;
}

TEST_F(Folder, IsReadAgainAsItWasWritten) {
  struct Case {
    const char* type;
    int64_t width, ff;
    DType wide, down;  // what matrices of `width` and of `ff` columns come back as
    int64_t groups[2];
  };
  const Case cases[] = {
      {"int4-g128", 128, 384, DType::kINT4_G128, DType::kINT4_G128, {128, 128}},
      {"int4-g128", 64, 96, DType::kINT4_G64, DType::kINT4_G32, {64, 32}},
      {"int4-g32", 128, 96, DType::kINT4_G32, DType::kINT4_G32, {32, 32}},
      {"int8", 128, 384, DType::kINT8, DType::kINT8, {}},
      {"int8", 64, 96, DType::kF32, DType::kF32, {}},
  };
  for (const Case& c : cases) {
    fs::remove_all(out());
    write(tiny_folder(c.width, c.ff));
    ASSERT_EQ(quantise(c.type), "");
    const auto before = open_model_file(in()), after = open_model_file(out());
    ASSERT_TRUE(before && after) << after.error().message;
    ASSERT_EQ(before->tensors.size(), after->tensors.size());
    EXPECT_EQ(after->vocab->tokens, before->vocab->tokens);
    EXPECT_EQ(after->vocab->chat_template, before->vocab->chat_template);
    for (const TensorView& t : before->tensors) {
      const TensorView* now = after->find(t.name);
      ASSERT_NE(now, nullptr) << t.name;
      const bool matrix = t.name.starts_with("blk.") && t.n_dims == 2;
      if (!matrix) {
        EXPECT_EQ(now->type, t.type) << t.name;
        EXPECT_EQ(floats_of(*now), floats_of(t)) << t.name;
        continue;
      }
      const bool down = t.cols() == c.ff;
      EXPECT_EQ(now->type, down ? c.down : c.wide) << c.type << ' ' << t.name;
      EXPECT_EQ(floats_of(*now), expected(*folder_type_from_name(c.type), c.groups[down], t))
          << c.type << ' ' << t.name;
    }
    EXPECT_GT(worst_, 0);
    EXPECT_LT(worst_, 0.1);
  }
  EXPECT_EQ(n_beside(), 1u);
}

TEST_F(Folder, FP8IsWithinHalfAStep) {
  for (const int64_t width : {64, 256}) {
    fs::remove_all(out());
    write(tiny_folder(width, 384));
    ASSERT_EQ(quantise("fp8"), "");
    const auto before = open_model_file(in()), after = open_model_file(out());
    ASSERT_TRUE(before && after) << after.error().message;
    EXPECT_EQ(after->find("blk.1.ffn_down.weight")->type, DType::kFP8);
    for (const TensorView& t : before->tensors) {
      const std::vector<float> a = floats_of(t), b = floats_of(*after->find(t.name));
      // Three bits of fraction; below 2^-6 of 448 steps are of 2^-9.
      for (size_t i = 0; i < a.size(); ++i)
        ASSERT_NEAR(a[i], b[i], std::max(std::fabs(a[i]) / 16, 0.5f / 448 / 512 * 1.001f))
            << t.name;
    }
  }
}

TEST_F(Folder, FeedbackAsksForEveryMatrixInTheOrderOfLayers) {
  write(tiny_folder(64, 96));
  std::vector<std::string> asked;
  std::vector<float> products(96 * 96);
  const FolderOptions options{
      .method = Int4Method::kFeedback,
      .products_of = [&](const std::string& tensor) -> Result<Matrix<const float>> {
        asked.push_back(tensor);
        const int64_t cols = tensor.ends_with("ffn_down.weight") ? 96 : 64;
        for (int64_t i = 0; i < cols * cols; ++i)
          products[static_cast<size_t>(i)] = i % (cols + 1) == 0 ? 2 : 1;
        return Matrix<const float>(products.data(), cols, cols);
      }};
  ASSERT_EQ(quantise("int4-g32", options), "");
  EXPECT_EQ(asked.size(), 14u);
  for (size_t i = 0; i < asked.size(); ++i)
    EXPECT_TRUE(asked[i].starts_with(i < 7 ? "blk.0." : "blk.1.")) << asked[i];
  EXPECT_TRUE(open_model_file(out()));
}

TEST_F(Folder, SaysWhatItIs) {
  write(tiny_folder(64, 96));
  ASSERT_EQ(quantise("int4-g128"), "");
  std::ifstream file(root_ / "out" / "config.json");
  const Json config = Json::parse(file)["quantization_config"];
  EXPECT_EQ(config["quant_method"], "compressed-tensors");
  EXPECT_EQ(config["format"], "pack-quantized");
  // Two sizes of groups, and each matrix in one of them.
  EXPECT_EQ(config["config_groups"]["group_0"]["weights"]["group_size"], 64);
  EXPECT_EQ(config["config_groups"]["group_0"]["targets"].size(), 12u);
  EXPECT_EQ(config["config_groups"]["group_1"]["weights"]["group_size"], 32);
  EXPECT_EQ(config["config_groups"]["group_1"]["targets"][1], "model.layers.1.mlp.down_proj");
  fs::remove_all(out());
  ASSERT_EQ(quantise("fp8"), "");
  std::ifstream fp8(root_ / "out" / "config.json");
  EXPECT_EQ(Json::parse(fp8)["quantization_config"]["weight_block_size"], Json({128, 128}));
}

TEST_F(Folder, Refuses) {
  write(tiny_folder(64, 96));
  ASSERT_EQ(quantise("int4-g32"), "");
  EXPECT_THAT(quantise("int4-g32"), HasSubstr("exists already"));
  fs::remove_all(in());
  fs::rename(out(), in());
  EXPECT_THAT(quantise("int4-g32"), HasSubstr("quantised already"));
  EXPECT_FALSE(fs::exists(out()));
  fs::create_directory(out() + ".part");
  write(tiny_folder(64, 96));
  EXPECT_THAT(quantise("int4-g32"), HasSubstr("exists already"));
  EXPECT_TRUE(fs::exists(out() + ".part"));
  fs::remove(out() + ".part");
  fs::create_symlink("nothing", out());
  EXPECT_THAT(quantise("int4-g32"), HasSubstr("exists already"));
}

TEST_F(Folder, NamesTheTensorThatIsNoNumber) {
  FolderDoc doc = tiny_folder(64, 96);
  std::string& data = doc.weights.tensor("model.layers.1.mlp.up_proj.weight").data;
  const float nan = std::nanf("");
  std::memcpy(data.data() + (3 * 64 + 7) * 4, &nan, 4);
  write(doc);
  for (const char* type : {"int4-g32", "int8", "fp8"})
    EXPECT_THAT(quantise(type), HasSubstr("'model.layers.1.mlp.up_proj.weight': row 3")) << type;
  EXPECT_EQ(n_beside(), 0u);
}

TEST_F(Folder, StopsAndLeavesNothing) {
  write(tiny_folder(64, 96));
  stop_after_ = 3;
  ASSERT_EQ(quantise("int8"), "");
  EXPECT_EQ(n_told_, 3);
  EXPECT_EQ(n_beside(), 0u);
}

}  // namespace
}  // namespace farthing
