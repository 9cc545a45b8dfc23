#include "serve/engine_backend.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace farthing {
namespace {

const std::string kToy = FARTHING_SOURCE_DIR "/tests/golden/model/llama-gqa.gguf";

std::string fingerprint(const std::string& path, LoadOptions load, EngineOptions options) {
  options.n_threads = 1;
  options.context = 128;
  auto model = load_model(path, load);
  EXPECT_TRUE(model) << model.error().message;
  auto engine = Engine::start(**model, options);
  EXPECT_TRUE(engine) << engine.error().message;
  return EngineBackend(**model, **engine, "", std::nullopt).info().fingerprint;
}

// The toy with another byte in its last tensor.
std::string altered_copy() {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("{}.gguf", getpid());
  const auto model = load_model(kToy, {});
  const ModelFile& file = (*model)->model->file;
  const auto at = file.tensors.back().bytes.data() - file.files[0].bytes().data();
  std::filesystem::copy_file(kToy, path);
  std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
  out.seekg(at);
  const auto byte = static_cast<char>(out.get() ^ 1);
  out.seekp(at);
  out.put(byte);
  return path;
}

TEST(EngineBackend, TheFingerprintIsOfWhatAnswersDependOn) {
  const std::string plain = fingerprint(kToy, {}, {});
  EXPECT_EQ(plain, fingerprint(kToy, {}, {.max_sequences = 4, .chunk = 7, .prefix_cache = false}));
  const std::string altered = altered_copy();
  const std::set<std::string> all = {
      plain,
      fingerprint(altered, {}, {}),
      fingerprint(kToy, {.weights = WeightMode::kInt8}, {}),
      fingerprint(kToy, {}, {.kv_type = KVType::kInt8}),
      fingerprint(kToy, {}, {.attention = AttentionMode::kNaive}),
      fingerprint(kToy, {}, {.isa = Isa::kRef}),
  };
  EXPECT_EQ(all.size(), 6u);
  std::filesystem::remove(altered);
}

}  // namespace
}  // namespace farthing
