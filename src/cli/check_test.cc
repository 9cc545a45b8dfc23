#include "cli/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/json.h"
#include "cli/inspect.h"
#include "load/gguf_for_tests.h"

namespace farthing {
namespace {

using testing::encode;
using testing::GgufDoc;
using ::testing::HasSubstr;
using testing::meta;
using testing::tiny_llama;

struct Outcome {
  int code = -1;
  std::string out, err;
};

// Runs a verb on streams in memory.
Outcome run(int (*verb)(const std::string&, bool, std::FILE*, std::FILE*),
            const std::string& path,
            bool json) {
  char* texts[2] = {nullptr, nullptr};
  size_t sizes[2] = {0, 0};
  std::FILE* out = ::open_memstream(&texts[0], &sizes[0]);
  std::FILE* err = ::open_memstream(&texts[1], &sizes[1]);
  Outcome outcome;
  outcome.code = verb(path, json, out, err);
  std::fclose(out);
  std::fclose(err);
  outcome.out.assign(texts[0], sizes[0]);
  outcome.err.assign(texts[1], sizes[1]);
  std::free(texts[0]);
  std::free(texts[1]);
  return outcome;
}

class ModelVerbs : public ::testing::Test {
 protected:
  ModelVerbs()
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("farthing-cli-{}.gguf", ::getpid())) {}
  ~ModelVerbs() override { std::filesystem::remove(path_); }

  Outcome check(const GgufDoc& doc, bool json = false) { return verb(check_file, doc, json); }
  Outcome inspect(const GgufDoc& doc, bool json = false) { return verb(inspect_file, doc, json); }
  Outcome verb(int (*function)(const std::string&, bool, std::FILE*, std::FILE*),
               const GgufDoc& doc,
               bool json) {
    std::ofstream(path_, std::ios::binary) << encode(doc).bytes;
    return run(function, path_.string(), json);
  }

  std::filesystem::path path_;
};

TEST_F(ModelVerbs, CheckAcceptsInOneLine) {
  const Outcome o = check(tiny_llama());
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.out, fmt::format("ok: {}: GGUF v3, llama, 21 tensors, 290 tokens\n", path_.string()));
  EXPECT_EQ(o.err, "");
}

TEST_F(ModelVerbs, CheckRefusesInOneLine) {
  struct Case {
    std::function<void(GgufDoc&)> damage;
    const char* names;
  };
  const Case cases[] = {
      {[](GgufDoc& d) { d.magic = "ABCD"; }, "offset 0"},
      {[](GgufDoc& d) { d.set(meta("general.architecture", "nonesuch")); }, "general.architecture"},
      {[](GgufDoc& d) { d.set(meta("llama.block_count", uint32_t{3})); }, "blk.2."},
      {[](GgufDoc& d) { d.set(meta("llama.attention.head_count", uint32_t{0})); },
       "llama.attention.head_count"},
      {[](GgufDoc& d) { d.tensor("blk.1.ffn_up.weight").dims = {128, 64}; }, "blk.1.ffn_up.weight"},
      {[](GgufDoc& d) { d.set(meta("tokenizer.ggml.eos_token_id", uint32_t{999})); },
       "tokenizer.ggml.eos_token_id"},
  };
  for (const Case& c : cases) {
    GgufDoc doc = tiny_llama();
    c.damage(doc);
    const Outcome o = check(doc);
    EXPECT_EQ(o.code, 3);
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1);
    EXPECT_THAT(o.err, HasSubstr(c.names));
    EXPECT_TRUE(o.err.starts_with("error: ")) << o.err;
    const Json json = Json::parse(check(doc, /*json=*/true).out);
    EXPECT_EQ(json["ok"], false);
    EXPECT_EQ(json["exit_code"], 3);
    EXPECT_THAT(json["error"].get<std::string>(), HasSubstr(c.names));
  }
}

TEST_F(ModelVerbs, AVocabularyAlonePassesAndSaysSo) {
  GgufDoc doc = tiny_llama();
  doc.tensors.clear();
  const Outcome o = check(doc);
  EXPECT_EQ(o.code, 0);
  EXPECT_THAT(o.out, HasSubstr("(a vocabulary only)"));
  EXPECT_EQ(Json::parse(check(doc, true).out)["vocabulary_only"], true);
}

TEST_F(ModelVerbs, AMissingFileIsBadInput) {
  const Outcome o = run(check_file, "/nonexistent/model.gguf", false);
  EXPECT_EQ(o.code, 3);
  EXPECT_THAT(o.err, HasSubstr("/nonexistent/model.gguf"));
}

TEST_F(ModelVerbs, LostOutputIsAFailure) {
  std::ofstream(path_, std::ios::binary) << encode(tiny_llama()).bytes;
  std::FILE* full = std::fopen("/dev/full", "w");
  ASSERT_NE(full, nullptr);
  std::FILE* sink = std::tmpfile();
  EXPECT_EQ(check_file(path_.string(), false, full, sink), 1);
  EXPECT_EQ(inspect_file(path_.string(), true, full, sink), 1);
  std::fclose(full);
  std::fclose(sink);
}

TEST_F(ModelVerbs, InspectJson) {
  GgufDoc doc = tiny_llama();
  doc.set(meta("general.name", "a \"name\""));
  doc.set(meta("numbers", std::vector<int32_t>{1, -2}));
  doc.set(meta("odd", "bytes \xFF"));
  const Outcome good = inspect(doc, /*json=*/true);
  ASSERT_EQ(good.code, 0) << good.err;
  const Json json = Json::parse(good.out);
  EXPECT_EQ(json["format"], "GGUF v3");
  EXPECT_EQ(json["architecture"], "llama");
  EXPECT_EQ(json["metadata"]["general.name"], "a \"name\"");
  EXPECT_EQ(json["metadata"]["odd"], "bytes \xEF\xBF\xBD");
  EXPECT_EQ(json["metadata"]["numbers"], Json::parse("[1, -2]"));
  EXPECT_EQ(json["metadata"]["llama.block_count"], 2);
  EXPECT_EQ(json["metadata"]["tokenizer.ggml.tokens"]["count"], 290);
  EXPECT_EQ(json["metadata"]["tokenizer.ggml.tokens"]["first"][1], "<s>");
  ASSERT_EQ(json["tensors"].size(), 21U);
  const Json& tensor = json["tensors"][1];
  EXPECT_EQ(tensor["name"], "blk.0.attn_norm.weight");
  EXPECT_EQ(tensor["type"], "F32");
  EXPECT_EQ(tensor["shape"], Json::parse("[64]"));
  EXPECT_EQ(tensor["bytes"], 256);
  const auto file = encode(doc);
  EXPECT_EQ(tensor["offset"], file.data_offset + 290 * 68 + 24);  // aligned to 32
  // 2 layers of 2 heads with 16 values each for key and value, 2 bytes each.
  EXPECT_EQ(json["memory"]["kv_bytes_per_token"], 2 * 2 * (16 + 16) * 2);
  EXPECT_EQ(json["memory"]["kv_bytes_full_context"], 2 * 2 * (16 + 16) * 2 * 256);
  uint64_t bytes = 0;
  for (const Json& t : json["tensors"]) bytes += t["bytes"].get<uint64_t>();
  EXPECT_EQ(json["memory"]["weights_bytes"], bytes);
  EXPECT_EQ(json["types"]["F32"]["tensors"], 5);
  const Json& run = json["memory"]["run"];
  EXPECT_EQ(run["kv_bytes"], 2 * 2 * (16 + 16) * 2 * 256);
  EXPECT_GT(run["weights_bytes"], bytes);
  EXPECT_GT(run["weights_percent_over_tensors"], 0);
  EXPECT_EQ(run["total_bytes"],
            run["weights_bytes"].get<int64_t>() + run["kv_bytes"].get<int64_t>() +
                run["workspace_bytes"].get<int64_t>() + run["vocabulary_bytes"].get<int64_t>() +
                run["tokenizer_bytes"].get<int64_t>() + run["program_bytes"].get<int64_t>());
  EXPECT_TRUE(json["memory"]["run_unknown"].is_null());
  EXPECT_THAT(inspect(doc).out, HasSubstr("weights as tiles"));
}

TEST_F(ModelVerbs, InspectTextKeepsATerminalSafe) {
  GgufDoc doc = tiny_llama();
  doc.set(meta("evil\x1b[2J", "\x1b]0;title\x07\nforged line"));
  const Outcome o = inspect(doc);
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(o.out.find('\x07'), std::string::npos);
  EXPECT_EQ(o.out.find("\nforged"), std::string::npos);
  EXPECT_THAT(o.out, HasSubstr("blk.1.ffn_down.weight"));
  EXPECT_THAT(o.out, HasSubstr("Q8_0"));
}

// What can't be told is told in the words of an error, which may quote the file.
TEST_F(ModelVerbs, InspectOfARefusedModelKeepsATerminalSafe) {
  GgufDoc doc = tiny_llama();
  doc.set(meta("llama.rope.scaling.type", "\x1b]0;title\x07\nforged line"));
  const Outcome o = inspect(doc);
  EXPECT_EQ(o.code, 0);
  EXPECT_THAT(o.out, HasSubstr("unknown: "));
  EXPECT_EQ(o.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(o.out.find('\x07'), std::string::npos);
  EXPECT_EQ(o.out.find("\nforged"), std::string::npos);
}

TEST_F(ModelVerbs, InspectWorksWhereHyperParametersMakeNoSense) {
  GgufDoc doc = tiny_llama();
  doc.set(meta("llama.block_count", "many"));
  const Outcome o = inspect(doc, /*json=*/true);
  ASSERT_EQ(o.code, 0);
  const Json memory = Json::parse(o.out)["memory"];
  EXPECT_TRUE(memory["kv_bytes_per_token"].is_null());
  EXPECT_TRUE(memory["run"].is_null());
  EXPECT_THAT(memory["run_unknown"].get<std::string>(), HasSubstr("llama.block_count"));
  EXPECT_THAT(inspect(doc).out, HasSubstr("unknown: "));
}

}  // namespace
}  // namespace farthing
