#include "convert/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "load/gguf.h"
#include "load/gguf_for_tests.h"

namespace farthing {
namespace {

using testing::encode;
using testing::GgufBytes;
using testing::GgufDoc;
using ::testing::HasSubstr;
using testing::meta;
using testing::tiny_llama;
using testing::TinyLlama;

// A model with tensors of these shapes, F32, whatever they mean.
struct Shape {
  std::string name;
  std::vector<uint64_t> dims;
};

GgufDoc doc_of(const std::vector<Shape>& shapes, unsigned seed = 1) {
  GgufDoc doc = tiny_llama();
  doc.tensors.clear();
  std::mt19937 random(seed);
  std::normal_distribution<float> bell(0, 0.05f);
  for (const Shape& shape : shapes) {
    auto tensor = TinyLlama::f32(shape.name, shape.dims);
    for (size_t at = 0; at < tensor.data.size(); at += 4) {
      const float v = bell(random);
      std::memcpy(tensor.data.data() + at, &v, 4);
    }
    doc.tensors.push_back(std::move(tensor));
  }
  return doc;
}

void put(GgufDoc& doc, size_t tensor, size_t index, float value) {
  std::memcpy(doc.tensors[tensor].data.data() + 4 * index, &value, 4);
}

std::vector<Shape> layers(int n, uint64_t cols = 256, bool tied = false) {
  std::vector<Shape> shapes = {{"token_embd.weight", {cols, 64}}};
  if (!tied) shapes.push_back({"output.weight", {cols, 64}});
  for (int i = 0; i < n; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    shapes.push_back({blk + "attn_norm.weight", {cols}});
    for (const char* name : {"attn_q", "attn_v", "ffn_up", "ffn_down"})
      shapes.push_back({blk + name + ".weight", {cols, 16}});
    shapes.push_back({blk + "attn_q.bias", {cols}});
  }
  return shapes;
}

std::string type_of(const ModelFile& file,
                    const char* mix,
                    const std::string& tensor,
                    bool weighted = false) {
  const std::vector<DType> types = types_of(*mix_from_name(mix), file, weighted);
  return std::string(
      format_of(types[static_cast<size_t>(file.find(tensor) - file.tensors.data())]).name);
}

TEST(Mix, IsFoundInAnyCase) {
  ASSERT_NE(mix_from_name("q4_k_m"), nullptr);
  EXPECT_EQ(mix_from_name("q4_k_m"), mix_from_name("Q4_K_M"));
  EXPECT_EQ(mix_from_name("Q4_K_M")->file_type, 15u);
  for (const char* name : {"", "Q4_K", "Q4_K_M ", "Q4_K_", "Q2_K"})
    EXPECT_EQ(mix_from_name(name), nullptr) << name;
  for (const Mix& mix : all_mixes()) EXPECT_EQ(mix_from_name(mix.name), &mix);
}

TEST(Mix, GivesMoreBitsToTheLayersThatLlamaQuantizeChooses) {
  // 32 layers: the first and last four, and every third between.
  const GgufBytes bytes = encode(doc_of(layers(32)));
  const auto file = read_model_image(bytes.span());
  ASSERT_TRUE(file) << file.error().message;
  const std::set<int> more = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31};
  for (int i = 0; i < 32; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    for (const char* name : {"attn_v", "ffn_down"}) {
      const std::string tensor = blk + name + ".weight";
      const bool is_v = std::string(name) == "attn_v";
      EXPECT_EQ(type_of(*file, "Q4_K_M", tensor), more.contains(i) ? "Q6_K" : "Q4_K") << tensor;
      EXPECT_EQ(type_of(*file, "Q5_K_M", tensor), more.contains(i) ? "Q6_K" : "Q5_K") << tensor;
      EXPECT_EQ(type_of(*file, "Q4_K_S", tensor), i < 4 ? "Q5_K" : "Q4_K") << tensor;
      EXPECT_EQ(type_of(*file, "Q5_K_S", tensor), "Q5_K") << tensor;
      EXPECT_EQ(type_of(*file, "Q4_0", tensor), "Q4_0") << tensor;
      EXPECT_EQ(type_of(*file, "Q4_0", tensor, true), !is_v && i < 4 ? "Q4_1" : "Q4_0") << tensor;
      EXPECT_EQ(type_of(*file, "Q5_0", tensor, true), !is_v && i < 4 ? "Q5_1" : "Q5_0") << tensor;
    }
    EXPECT_EQ(type_of(*file, "Q4_K_M", blk + "attn_q.weight"), "Q4_K");
    EXPECT_EQ(type_of(*file, "Q4_K_M", blk + "ffn_up.weight"), "Q4_K");
    EXPECT_EQ(type_of(*file, "Q4_K_M", blk + "attn_norm.weight"), "F32");
    EXPECT_EQ(type_of(*file, "F16", blk + "attn_norm.weight"), "F32");
    EXPECT_EQ(type_of(*file, "Q4_K_M", blk + "attn_q.bias"), "F32");
  }
  EXPECT_EQ(type_of(*file, "Q4_K_M", "output.weight"), "Q6_K");
  EXPECT_EQ(type_of(*file, "Q4_K_M", "token_embd.weight"), "Q4_K");
  EXPECT_EQ(type_of(*file, "Q4_0", "output.weight"), "Q6_K");
  EXPECT_EQ(type_of(*file, "Q8_0", "output.weight"), "Q8_0");
  EXPECT_EQ(type_of(*file, "F16", "output.weight"), "F16");
  EXPECT_EQ(type_of(*file, "BF16", "blk.0.attn_v.weight"), "BF16");
}

TEST(Mix, ATiedEmbeddingIsTheHead) {
  const GgufBytes bytes = encode(doc_of(layers(1, 256, /*tied=*/true)));
  const auto file = read_model_image(bytes.span());
  ASSERT_TRUE(file);
  EXPECT_EQ(type_of(*file, "Q4_K_M", "token_embd.weight"), "Q6_K");
}

TEST(Mix, LayersCountByNumberWhateverTheirPlaceInTheFile) {
  std::vector<Shape> shapes;
  for (const int i : {9, 0, 11, 10, 1, 2, 3, 4, 5, 6, 7, 8})
    shapes.push_back({"blk." + std::to_string(i) + ".ffn_down.weight", {256, 2}});
  const GgufBytes bytes = encode(doc_of(shapes));
  const auto file = read_model_image(bytes.span());
  ASSERT_TRUE(file);
  // 12 layers: 0; 10, 11; (i - 1) % 3 == 2 between.
  for (const int i : {0, 3, 6, 9, 10, 11})
    EXPECT_EQ(type_of(*file, "Q4_K_M", "blk." + std::to_string(i) + ".ffn_down.weight"), "Q6_K")
        << i;
  for (const int i : {1, 2, 4, 5, 7, 8})
    EXPECT_EQ(type_of(*file, "Q4_K_M", "blk." + std::to_string(i) + ".ffn_down.weight"), "Q4_K")
        << i;
}

TEST(Mix, RowsOfOtherLengthsFallBack) {
  const std::map<std::pair<DType, int64_t>, DType> wanted = {{{DType::kQ4_K, 576}, DType::kQ5_0},
                                                             {{DType::kQ5_K, 576}, DType::kQ5_1},
                                                             {{DType::kQ6_K, 576}, DType::kQ8_0},
                                                             {{DType::kQ4_K, 512}, DType::kQ4_K},
                                                             {{DType::kQ4_0, 576}, DType::kQ4_0},
                                                             {{DType::kQ4_0, 48}, DType::kF16},
                                                             {{DType::kQ4_K, 48}, DType::kF16},
                                                             {{DType::kQ8_0, 1}, DType::kF16},
                                                             {{DType::kF16, 1}, DType::kF16},
                                                             {{DType::kF32, 7}, DType::kF32}};
  for (const auto& [what, type] : wanted)
    EXPECT_EQ(type_for_rows(what.first, what.second), type)
        << format_of(what.first).name << ' ' << what.second;
  const GgufBytes bytes = encode(doc_of(layers(8, 576)));
  const auto file = read_model_image(bytes.span());
  ASSERT_TRUE(file);
  EXPECT_EQ(type_of(*file, "Q4_K_M", "blk.2.attn_q.weight"), "Q5_0");
  EXPECT_EQ(type_of(*file, "Q4_K_M", "blk.0.ffn_down.weight"), "Q8_0");
  EXPECT_EQ(type_of(*file, "Q4_K_M", "output.weight"), "Q8_0");
  EXPECT_EQ(type_of(*file, "Q4_0", "output.weight"), "Q8_0");
}

// ---- writing ----

class Quantizing : public ::testing::Test {
 protected:
  Quantizing() : folder_(::testing::TempDir() + "farthing_quantize_XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  }
  ~Quantizing() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string save(const std::string& name, const GgufDoc& doc) const {
    const std::string bytes = encode(doc).bytes;
    std::FILE* file = std::fopen(path(name).c_str(), "wb");
    EXPECT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    std::fclose(file);
    return path(name);
  }
  size_t n_files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  struct Written {
    std::vector<TensorLoss> losses;
    std::string bytes;
  };
  Result<Written> write(const std::string& in,
                        const char* mix,
                        const ImportanceMatrix* importance = nullptr,
                        int32_t n_threads = 2,
                        const std::string& out = "out.gguf") const {
    FARTHING_TRY(const ModelFile file, open_model_file(in));
    FARTHING_TRY(const QuantizePlan plan, plan_quantize(file, *mix_from_name(mix), importance));
    Written written;
    ThreadTeam team(n_threads);
    FARTHING_TRY_VOID(
        write_quantized(plan, path(out), team, [&](size_t, int64_t, const TensorLoss* loss) {
          if (loss != nullptr) written.losses.push_back(*loss);
          return true;
        }));
    FARTHING_TRY(written.bytes, read_file(path(out), size_t{1} << 30));
    return written;
  }
  std::string refusal(const GgufDoc& doc, const char* mix) const {
    const auto written = write(save("in.gguf", doc), mix);
    EXPECT_FALSE(written);
    if (written) return "";
    EXPECT_EQ(written.error().kind, ErrorKind::kBadInput);
    EXPECT_EQ(n_files(), 1u) << "something was left behind";
    return written.error().message;
  }

  std::string folder_;
};

// Bits a value, and how far values move: of bell-shaped ones.
struct Expected {
  const char* mix;
  double bits, error;
};

TEST_F(Quantizing, WritesWhatReadsBackNearlyTheSame) {
  const std::string in = save("in.gguf", doc_of(layers(2)));
  const auto source = open_model_file(in);
  ASSERT_TRUE(source);
  for (const Expected& e : {Expected{"F32", 32, 0},
                            {"F16", 16, 3e-4},
                            {"BF16", 16, 2e-3},
                            {"Q8_0", 8.5, 0.006},
                            {"Q6_K", 6.5625, 0.02},
                            {"Q5_1", 6, 0.035},
                            {"Q5_0", 5.5, 0.045},
                            {"Q5_K_S", 5.5, 0.036},
                            {"Q4_1", 5, 0.072},
                            {"Q4_0", 4.5, 0.085},
                            {"Q4_K_M", 4.5, 0.072}}) {
    const auto written = write(in, e.mix);
    ASSERT_TRUE(written) << written.error().message;
    const auto back = open_model_file(path("out.gguf"));
    ASSERT_TRUE(back) << back.error().message;
    ASSERT_EQ(back->tensors.size(), source->tensors.size());
    for (size_t i = 0; i < back->tensors.size(); ++i) {
      const TensorView &before = source->tensors[i], &after = back->tensors[i];
      EXPECT_EQ(before.name, after.name);
      EXPECT_EQ(before.dims, after.dims);
      EXPECT_EQ(before.n_dims, after.n_dims);
      std::vector<float> x(static_cast<size_t>(before.size())), y(x.size());
      format_of(before.type).decode(before.bytes.data(), x.data(), before.size());
      format_of(after.type).decode(after.bytes.data(), y.data(), after.size());
      double error = 0, norm = 0;
      for (size_t k = 0; k < x.size(); ++k) {
        error += (double{y[k]} - x[k]) * (double{y[k]} - x[k]);
        norm += double{x[k]} * x[k];
      }
      EXPECT_NEAR(std::sqrt(error / norm), written->losses[i].error, 1e-9) << after.name;
      EXPECT_EQ(written->losses[i].error, written->losses[i].weighted);
      EXPECT_LE(written->losses[i].error, e.error) << e.mix << ' ' << after.name;
      if (after.name == "blk.1.attn_q.weight") {
        EXPECT_EQ(8.0 * static_cast<double>(after.bytes.size()) / static_cast<double>(after.size()),
                  e.bits)
            << e.mix;
        EXPECT_GE(written->losses[i].error, e.error / 2) << e.mix;
      }
    }
  }
}

TEST_F(Quantizing, MetadataStaysAsItIs) {
  GgufDoc doc = doc_of(layers(1));
  doc.set(meta("general.file_type", uint32_t{0}));
  doc.set(meta("x.int64", int64_t{-1}));
  doc.set(meta("x.uint8", uint8_t{7}));
  doc.set(meta("x.float64", 0.1));
  doc.set(meta("split.count", uint16_t{1}));
  const GgufBytes before = encode(doc);
  ASSERT_TRUE(write(save("in.gguf", doc), "Q4_K_M"));
  const auto bytes = read_file(path("out.gguf"), 1 << 24);
  const auto span = std::as_bytes(std::span(*bytes));
  const auto was = gguf_entries(before.span()), is = gguf_entries(span);
  ASSERT_TRUE(was && is);
  std::map<std::string, std::string> changed;
  size_t at = 0;
  for (const GgufEntry& entry : *was) {
    if (entry.key.starts_with("split.")) continue;
    ASSERT_LT(at, is->size());
    EXPECT_EQ(entry.key, (*is)[at].key);
    EXPECT_EQ(entry.type, (*is)[at].type) << entry.key;
    if (entry.key != "general.file_type") {
      EXPECT_TRUE(std::ranges::equal(entry.value, (*is)[at].value)) << entry.key;
    }
    ++at;
  }
  const auto back = open_model_file(path("out.gguf"));
  EXPECT_EQ(**back->metadata.integer("general.file_type", 0, 100), 15);
  EXPECT_EQ(**back->metadata.integer("general.quantization_version", 0, 100), 2);
  EXPECT_EQ(back->metadata.find("split.count"), nullptr);
  EXPECT_EQ(is->size(), at + 1);  // the version is new
}

TEST_F(Quantizing, KeysOfAModelThatIsNoFileAreWrittenToo) {
  const GgufBytes bytes = encode(doc_of(layers(1)));
  const auto file = read_model_image(bytes.span());
  ASSERT_TRUE(file);
  const auto plan = plan_quantize(*file, *mix_from_name("Q8_0"), nullptr);
  ASSERT_TRUE(plan);
  ThreadTeam team(1);
  ASSERT_TRUE(write_quantized(
      *plan, path("out.gguf"), team, [](size_t, int64_t, const TensorLoss*) { return true; }));
  const auto back = open_model_file(path("out.gguf"));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(**back->metadata.string("general.name"), "tiny");
  EXPECT_EQ(**back->metadata.integer("llama.block_count", 0, 9), 2);
  EXPECT_EQ(**back->metadata.boolean("tokenizer.ggml.add_bos_token"), true);
  EXPECT_TRUE(back->vocab);
}

TEST_F(Quantizing, ThreadsAndTimesChangeNothing) {
  const std::string in = save("in.gguf", doc_of(layers(3)));
  const auto one = write(in, "Q4_K_M", nullptr, 1);
  ASSERT_TRUE(one);
  for (const int32_t n : {1, 2, 5}) {
    const auto other = write(in, "Q4_K_M", nullptr, n);
    ASSERT_TRUE(other);
    EXPECT_TRUE(one->bytes == other->bytes) << n;
    for (size_t i = 0; i < one->losses.size(); ++i)
      EXPECT_EQ(one->losses[i].error, other->losses[i].error);
  }
}

TEST_F(Quantizing, FromQuantisedTypesAndToTheSame) {
  const std::string in = save("in.gguf", doc_of(layers(2)));
  ASSERT_TRUE(write(in, "Q8_0", nullptr, 2, "q8.gguf"));
  const auto again = write(path("q8.gguf"), "Q8_0");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->bytes, *read_file(path("q8.gguf"), 1 << 24));
  for (const TensorLoss& loss : again->losses) EXPECT_EQ(loss.error, 0);
  const auto less = write(path("q8.gguf"), "Q4_0");
  ASSERT_TRUE(less);
  EXPECT_GT(less->losses[0].error, 0.01);
}

TEST_F(Quantizing, RefusesWhatIsNoNumber) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const char* mix : {"Q4_0", "Q4_K_M", "Q8_0", "F16"}) {
      GgufDoc doc = doc_of(layers(1));
      put(doc, 3, 5 * 256 + 17, bad);
      const std::string message = refusal(doc, mix);
      EXPECT_THAT(message, HasSubstr("blk.0.attn_q.weight"));
      EXPECT_THAT(message, HasSubstr("row 5, column 17"));
    }
  }
}

TEST_F(Quantizing, RefusesWhatIsTooLarge) {
  GgufDoc doc = doc_of(layers(1));
  put(doc, 3, 2 * 256 + 1, 1e9f);
  for (const char* mix : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K_M", "Q6_K", "F16"})
    EXPECT_THAT(refusal(doc, mix), HasSubstr("too large")) << mix;
  EXPECT_TRUE(write(save("in.gguf", doc), "BF16"));
}

TEST_F(Quantizing, RefusesToWriteOverWhatItReads) {
  const std::string in = save("in.gguf", doc_of(layers(1)));
  const std::string before = *read_file(in, 1 << 24);
  const auto same = write(in, "Q8_0", nullptr, 1, "in.gguf");
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().kind, ErrorKind::kUsage);
  std::filesystem::create_symlink(in, path("link.gguf"));
  EXPECT_FALSE(write(in, "Q8_0", nullptr, 1, "link.gguf"));
  // What is written beside the path first must not be it either.
  std::filesystem::rename(in, path("a.gguf.part"));
  EXPECT_FALSE(write(path("a.gguf.part"), "Q8_0", nullptr, 1, "a.gguf"));
  EXPECT_EQ(*read_file(path("a.gguf.part"), 1 << 24), before);
  // Nor anything that a folder consists of.
  const std::string folder = FARTHING_SOURCE_DIR "/tests/golden/folder/llama-gqa";
  const auto file = open_model_file(folder);
  ASSERT_TRUE(file) << file.error().message;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    EXPECT_FALSE(check_not_read(*file, entry.path().string())) << entry.path();
  EXPECT_TRUE(check_not_read(*file, folder + "/new.gguf"));
  EXPECT_TRUE(check_not_read(*file, path("link.gguf")));
}

TEST_F(Quantizing, StopsWithoutATrace) {
  const auto file = open_model_file(save("in.gguf", doc_of(layers(2))));
  const auto plan = plan_quantize(*file, *mix_from_name("Q4_0"), nullptr);
  ThreadTeam team(2);
  const Status stopped =
      write_quantized(*plan, path("out.gguf"), team, [](size_t tensor, int64_t, const TensorLoss*) {
        return tensor < 3;
      });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::kInterrupted);
  EXPECT_EQ(n_files(), 1u);
}

// ---- importance ----

ImportanceMatrix importance_of(const std::vector<Shape>& shapes, unsigned seed) {
  ImportanceMatrix matrix;
  matrix.chunks = 3;
  matrix.chunk_size = 512;
  matrix.texts = {"text.txt"};
  std::mt19937 random(seed);
  std::lognormal_distribution<float> wide(0, 1.5f);
  for (const Shape& shape : shapes) {
    if (shape.dims.size() < 2) continue;
    Importance& importance = matrix.tensors[shape.name];
    importance.counts = {1000};
    for (uint64_t c = 0; c < shape.dims[0]; ++c) importance.sums.push_back(1000 * wide(random));
  }
  return matrix;
}

TEST_F(Quantizing, AnImportanceMatrixLowersTheWeightedError) {
  const std::string in = save("in.gguf", doc_of(layers(1)));
  const ImportanceMatrix matrix = importance_of(layers(1), 4);
  const auto plain = write(in, "Q4_0"), weighted = write(in, "Q4_0", &matrix);
  ASSERT_TRUE(plain && weighted);
  for (size_t i = 0; i < plain->losses.size(); ++i) {
    if (plain->losses[i].error == 0) continue;
    EXPECT_GT(weighted->losses[i].error, plain->losses[i].error) << i;
    EXPECT_LT(weighted->losses[i].weighted, 0.95 * plain->losses[i].error) << i;
  }
  const auto back = open_model_file(path("out.gguf"));
  EXPECT_EQ(**back->metadata.string("quantize.imatrix.dataset"), "text.txt");
  EXPECT_EQ(**back->metadata.integer("quantize.imatrix.chunks_count", 0, 9), 3);
}

TEST_F(Quantizing, EachExpertHasItsOwnColumns) {
  // Two matrices in one tensor: the first counts in its even columns, the second in its odd ones.
  const std::vector<Shape> shapes = {{"blk.0.ffn_up_exps.weight", {64, 8, 2}}};
  const std::string in = save("in.gguf", doc_of(shapes));
  ImportanceMatrix matrix;
  Importance& importance = matrix.tensors[shapes[0].name];
  importance.counts = {10, 10};
  for (int m = 0; m < 2; ++m) {
    for (int c = 0; c < 64; ++c) importance.sums.push_back(c % 2 == m ? 1e6f : 1.0f);
  }
  ASSERT_TRUE(write(in, "Q4_0", &matrix));
  const auto before = open_model_file(in), after = open_model_file(path("out.gguf"));
  std::vector<float> x(1024), y(1024);
  std::memcpy(x.data(), before->tensors[0].bytes.data(), 4096);
  format_of(DType::kQ4_0).decode(after->tensors[0].bytes.data(), y.data(), 1024);
  double error[2][2] = {};
  for (size_t i = 0; i < 1024; ++i) error[i / 512][i % 2] += (x[i] - y[i]) * (x[i] - y[i]);
  EXPECT_LT(error[0][0], 0.8 * error[0][1]);
  EXPECT_LT(error[1][1], 0.8 * error[1][0]);
}

TEST_F(Quantizing, RefusesAnImportanceMatrixOfAnotherModel) {
  const GgufBytes bytes = encode(doc_of(layers(1)));
  const auto file = read_model_image(bytes.span());
  const auto refused = [&](const ImportanceMatrix& matrix) {
    const auto plan = plan_quantize(*file, *mix_from_name("Q4_0"), &matrix);
    if (plan) return std::string("accepted");
    EXPECT_EQ(plan.error().kind, ErrorKind::kBadInput);
    return plan.error().message;
  };
  EXPECT_THAT(refused(importance_of(layers(1, 64), 1)), HasSubstr("256 columns"));
  EXPECT_THAT(refused(importance_of({{"blk.9.ffn_up.weight", {256, 1}}}, 1)),
              HasSubstr("no tensor"));
  ImportanceMatrix two = importance_of(layers(1), 1);
  two.tensors.begin()->second.counts = {1, 1};
  EXPECT_THAT(refused(two), HasSubstr("2"));
  EXPECT_EQ(refused(importance_of(layers(1), 1)), "accepted");
}

class ImportanceFile : public Quantizing {};

TEST_F(ImportanceFile, ComesBackAsItWasWritten) {
  ImportanceMatrix matrix = importance_of(layers(2), 9);
  matrix.tensors["blk.0.ffn_up.weight"].counts = {5, 7};
  ASSERT_TRUE(write_importance(matrix, path("i.gguf")));
  const auto back = read_importance(path("i.gguf"));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->chunks, 3u);
  EXPECT_EQ(back->chunk_size, 512u);
  EXPECT_EQ(back->texts, matrix.texts);
  ASSERT_EQ(back->tensors.size(), matrix.tensors.size());
  for (const auto& [name, importance] : matrix.tensors) {
    EXPECT_EQ(back->tensors.at(name).sums, importance.sums);
    EXPECT_EQ(back->tensors.at(name).counts, importance.counts);
  }
}

TEST_F(ImportanceFile, MeansAreSumsOverCounts) {
  EXPECT_EQ((Importance{{2, 4, 9, 3}, {2, 0}}.mean_squares()), (std::vector<float>{1, 2, 1, 1}));
}

GgufDoc small_importance() {
  GgufDoc doc;
  doc.keys = {meta("general.type", "imatrix"),
              meta("imatrix.datasets", std::vector<std::string>{"t"}),
              meta("imatrix.chunk_count", uint32_t{1}),
              meta("imatrix.chunk_size", uint32_t{512})};
  doc.tensors = {TinyLlama::f32("a.weight.in_sum2", {4, 2}),
                 TinyLlama::f32("a.weight.counts", {1, 2})};
  return doc;
}

TEST_F(ImportanceFile, HostileFilesAreRefusedByName) {
  const auto refused = [&](const GgufDoc& doc) {
    const auto matrix = read_importance(save("i.gguf", doc));
    if (matrix) return std::string("accepted");
    EXPECT_EQ(matrix.error().kind, ErrorKind::kBadInput);
    return matrix.error().message;
  };
  EXPECT_EQ(refused(small_importance()), "accepted");
  GgufDoc doc = small_importance();
  doc.set(meta("general.type", "model"));
  EXPECT_THAT(refused(doc), HasSubstr("general.type"));
  EXPECT_THAT(refused(tiny_llama()), HasSubstr("general.type"));
  doc = small_importance();
  doc.tensors.pop_back();
  EXPECT_THAT(refused(doc), HasSubstr("a.weight.counts"));
  doc = small_importance();
  doc.tensors.erase(doc.tensors.begin());
  EXPECT_THAT(refused(doc), HasSubstr("a.weight.in_sum2"));
  doc = small_importance();
  doc.tensors.clear();
  EXPECT_THAT(refused(doc), HasSubstr("in_sum2"));
  doc = small_importance();
  doc.tensors[1] = TinyLlama::f32("a.weight.counts", {3});
  EXPECT_THAT(refused(doc), HasSubstr("3"));
  doc = small_importance();
  doc.tensors[0] = TinyLlama::q8_0("a.weight.in_sum2", {32, 2});
  EXPECT_THAT(refused(doc), HasSubstr("F32"));
  for (const float bad : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    doc = small_importance();
    put(doc, 0, 3, bad);
    EXPECT_THAT(refused(doc), HasSubstr("a.weight.in_sum2")) << bad;
  }
  doc = small_importance();
  put(doc, 1, 0, 1e-40f);  // a mean of anything over it would be infinite
  EXPECT_THAT(refused(doc), HasSubstr("a.weight.counts"));
  doc = small_importance();
  doc.set(meta("imatrix.chunk_count", "three"));
  EXPECT_THAT(refused(doc), HasSubstr("imatrix.chunk_count"));
  doc = small_importance();
  doc.tensors.push_back(doc.tensors[0]);
  EXPECT_THAT(refused(doc), HasSubstr("second time"));
  // Cut anywhere, it is refused too.
  const std::string whole = encode(small_importance()).bytes;
  for (size_t n = 0; n < whole.size(); n += 7)
    EXPECT_FALSE(parse_importance(std::as_bytes(std::span(whole).first(n)))) << n;
}

}  // namespace
}  // namespace farthing
