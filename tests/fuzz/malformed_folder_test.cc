// The sweep over Hugging Face folders: every value of every JSON document replaced by bad ones,
// left out or doubled, every document cut at each byte, the weights' header likewise. Each is
// refused in one line that says where, or read safely, within 2 s of CPU.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "load/safetensors_for_tests.h"
#include "tests/fuzz/malformed.h"

namespace farthing::fuzz {
namespace {

using testing::FolderBytes;
using testing::FolderDoc;
using testing::tiny_folder;

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

class FolderSweep : public ::testing::Test {
 protected:
  void try_folder(const FolderBytes& folder, const std::string& recipe) {
    // In allocations of their own sizes, so that AddressSanitizer sees the first byte read beyond.
    std::vector<std::vector<char>> exact;
    HfFolder view = folder.view();
    const auto copy = [&](std::span<const std::byte>& bytes) {
      const auto* text = reinterpret_cast<const char*>(bytes.data());
      exact.emplace_back(text, text + bytes.size());
      bytes = std::as_bytes(std::span(exact.back()));
    };
    for (auto* bytes : {&view.config, &view.generation_config, &view.tokenizer,
                        &view.tokenizer_config, &view.chat_template, &view.index}) {
      copy(*bytes);
    }
    for (HfFolder::Shard& shard : view.shards) copy(shard.bytes);
    const double before = cpu_seconds();
    bool refused = false;
    const std::string fault = judge_folder(view, &refused);
    EXPECT_EQ(fault, "") << recipe;
    EXPECT_LT(cpu_seconds() - before, 2) << recipe;
    ++(refused ? n_refused_ : n_accepted_);
  }

  // Every value of a document, in place and replaced.
  void sweep(Json FolderDoc::*document, const std::string& name) {
    const FolderDoc right = tiny_folder();
    const Json flat = (right.*document).flatten();
    for (const auto& [pointer, value] : flat.items()) {
      for (const Json& bad : bad_values()) {
        FolderDoc doc = right;
        (doc.*document)[Json::json_pointer(pointer)] = bad;
        try_folder(doc.encode(), fmt::format("{} {} = {}", name, pointer, printable(bad.dump(-1, ' ', true))));
      }
      FolderDoc doc = right;
      const Json::json_pointer place(pointer);
      Json& parent = (doc.*document)[place.parent_pointer()];
      if (parent.is_object()) parent.erase(place.back());
      if (parent.is_array()) parent.erase(parent.size() - 1);
      try_folder(doc.encode(), fmt::format("{} without {}", name, pointer));
    }
  }

  void cut(std::string FolderBytes::*document, const std::string& name) {
    FolderBytes right = tiny_folder().encode();
    const std::string whole = right.*document;
    for (size_t n = 0; n <= whole.size(); ++n) {
      right.*document = whole.substr(0, n);
      try_folder(right, fmt::format("{} cut after {}", name, n));
    }
  }

  ~FolderSweep() override {
    fmt::print("{} folders refused, {} accepted\n", n_refused_, n_accepted_);
    EXPECT_GT(n_refused_, n_accepted_ / 4);
  }

  int n_refused_ = 0, n_accepted_ = 0;

 private:
  static std::vector<Json> bad_values() {
    std::vector<Json> out = {nullptr, true, "", "x", "<s>", -1, 0, 1, 3, 7, 63, 65, 0.5, -0.5, 1e-320,
                             1e300, Json::array(), Json::object(), Json::array({1, 2}),
                             Json{{"a", 1}}, std::string(5000, 'y')};
    for (int bits : {7, 8, 15, 16, 20, 31, 32, 53, 62}) {
      out.emplace_back(int64_t{1} << bits);
      out.emplace_back((int64_t{1} << bits) - 1);
    }
    out.emplace_back(UINT64_MAX);
    out.emplace_back(INT64_MIN);
    return out;
  }
};

TEST_F(FolderSweep, Config) {
  sweep(&FolderDoc::config, "config.json");
  cut(&FolderBytes::config, "config.json");
}

TEST_F(FolderSweep, Tokenizer) {
  sweep(&FolderDoc::tokenizer, "tokenizer.json");
  cut(&FolderBytes::tokenizer, "tokenizer.json");
}

TEST_F(FolderSweep, TokenizerConfig) {
  sweep(&FolderDoc::tokenizer_config, "tokenizer_config.json");
  cut(&FolderBytes::tokenizer_config, "tokenizer_config.json");
}

TEST_F(FolderSweep, Weights) {
  const FolderDoc right = tiny_folder();
  for (size_t i = 0; i < right.weights.tensors.size(); i += 3) {
    const auto change = [&](const std::string& what, auto&& apply) {
      FolderDoc doc = right;
      apply(doc.weights.tensors[i]);
      try_folder(doc.encode(), fmt::format("{} {}", right.weights.tensors[i].name, what));
    };
    for (const char* dtype : {"F16", "BF16", "F64", "I8", "U8", "F8_E4M3", "BOOL", "F4", "C64", "x"}) {
      change(fmt::format("of type {}", dtype), [&](auto& t) { t.dtype = dtype; });
    }
    for (int64_t d : {int64_t{0}, int64_t{-1}, int64_t{1}, int64_t{63}, int64_t{1} << 31, int64_t{1} << 62}) {
      change(fmt::format("with dimension {}", d), [&](auto& t) { t.shape[0] = d; });
      change(fmt::format("with one more dimension {}", d), [&](auto& t) { t.shape.push_back(d); });
      change(fmt::format("from {}", d), [&](auto& t) { t.range = std::pair(d, d + 256); });
      change(fmt::format("up to {}", d), [&](auto& t) { t.range = std::pair(int64_t{0}, d); });
    }
    change("transposed", [](auto& t) { std::ranges::reverse(t.shape); });
    change("renamed", [](auto& t) { t.name += "_inv"; });
    change("nameless", [](auto& t) { t.name = ""; });
  }
  const FolderBytes whole = right.encode();
  const std::string& file = whole.shards[0].second;
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  for (size_t n = 0; n < 8 + header; ++n) {
    FolderBytes bytes = whole;
    bytes.shards[0].second = file.substr(0, n);
    try_folder(bytes, fmt::format("weights cut after {}", n));
    bytes.shards[0].second = file;
    bytes.shards[0].second[n] = static_cast<char>(bytes.shards[0].second[n] ^ (1 << n % 8));
    try_folder(bytes, fmt::format("weights with bit {} of byte {} changed", n % 8, n));
  }
}

// Documents that try to take much memory or time: many small things, deep ones.
TEST_F(FolderSweep, Bombs) {
  const auto repeat = [](const std::string& text, size_t bytes) {
    std::string out;
    while (out.size() < bytes) out += text;
    return out;
  };
  constexpr size_t kBytes = size_t{3} << 20;
  const auto numbered = [](const char* before, const char* after, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += fmt::format("{}{}{}", before, i, after);
    return out;
  };
  const std::vector<std::pair<std::string, std::string>> bombs = {
      {"deep lists", "{\"a\":" + repeat("[", kBytes)},
      {"deep objects", repeat("{\"a\":", kBytes)},
      {"many keys", "{" + numbered("\"k", "\":1,", 200'000) + "\"z\":1}"},
      {"one key often", "{" + repeat("\"a\":1,", kBytes) + "\"z\":1}"},
      {"many lists", "{\"a\":[" + repeat("[],", kBytes) + "1]}"},
      {"many objects", "{\"a\":[" + repeat("{},", kBytes) + "1]}"},
      {"a long text", "{\"a\":\"" + repeat("x", kBytes) + "\"}"},
      {"a long number", "{\"a\":" + repeat("9", kBytes) + "}"},
      {"many tokens", "{\"model\":{\"vocab\":{" + numbered("\"k", "\":3,", 200'000) + "\"z\":1}}}"},
      {"many merges", "{\"model\":{\"merges\":[" + repeat("\"a b\",", kBytes) + "\"a b\"]}}"},
      {"many added tokens",
       "{\"added_tokens\":[" + numbered("{\"id\":", ",\"content\":\"a\"},", 100'000) + "{}]}"},
      {"many files", "{\"weight_map\":{" + numbered("\"k", "\":\"a.safetensors\",", 100'000) + "\"z\":1}}"},
  };
  for (const auto& [what, text] : bombs) {
    for (auto document : {&FolderBytes::config, &FolderBytes::generation_config, &FolderBytes::tokenizer,
                          &FolderBytes::tokenizer_config, &FolderBytes::index}) {
      FolderBytes folder = tiny_folder().encode();
      folder.*document = text;
      try_folder(folder, what);
    }
    FolderBytes folder = tiny_folder().encode();
    const uint64_t length = text.size();
    folder.shards[0].second = std::string(reinterpret_cast<const char*>(&length), 8) + text;
    try_folder(folder, what);
  }
}

}  // namespace
}  // namespace farthing::fuzz
