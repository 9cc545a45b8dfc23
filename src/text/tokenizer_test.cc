// Ids against the reference readers (tests/golden/tokenizer), and what a text or a vocabulary must
// never do to us.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

#include "base/cpu.h"
#include "base/json.h"
#include "text/stream_decoder.h"

namespace farthing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

const fs::path kGoldens = fs::path(FARTHING_SOURCE_DIR) / "tests/golden/tokenizer";

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Json read_json(const fs::path& path) {
  return Json::parse(read_file(path));
}

std::optional<TokenId> optional_id(const Json& json, const char* key) {
  return json.contains(key) ? std::optional<TokenId>(json[key]) : std::nullopt;
}

Vocab read_vocab(const std::string& name) {
  const Json json = read_json(kGoldens / "vocab" / (name + ".json"));
  Vocab vocab;
  vocab.model = json["model"];
  vocab.tokens = json["tokens"];
  for (const int type : json["types"]) vocab.types.push_back(static_cast<TokenType>(type));
  vocab.scores = json.value("scores", std::vector<float>());
  vocab.merges = json.value("merges", std::vector<std::string>());
  vocab.bos = optional_id(json, "bos");
  vocab.eos = optional_id(json, "eos");
  vocab.unknown = optional_id(json, "unknown");
  vocab.separator = optional_id(json, "separator");
  return vocab;
}

void set_flag(Vocab& vocab, const std::string& name, bool value) {
  if (name == "add_bos_token")
    vocab.add_bos = value;
  else if (name == "add_eos_token")
    vocab.add_eos = value;
  else if (name == "add_space_prefix")
    vocab.add_space_prefix = value;
  else if (name == "normalizer.lowercase")
    vocab.lowercase = value;
  else
    FAIL() << name;
}

Tokenizer make(const Vocab& vocab) {
  Result<Tokenizer> made = Tokenizer::from_vocab(vocab);
  CHECK(made.has_value());
  return std::move(made).value();
}

std::vector<TokenId> encode(const Tokenizer& tokenizer,
                            std::string_view text,
                            EncodeOptions options = {}) {
  Result<std::vector<TokenId>> ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids) << ids.error().message;
  return ids ? *ids : std::vector<TokenId>();
}

constexpr EncodeOptions kPlain = {};
constexpr EncodeOptions kSpecial = {.add_special = true, .parse_special = true};

void expect_ids(const Tokenizer& tokenizer, const Json& golden) {
  const std::vector<std::string> texts = read_json(kGoldens / "texts.json");
  ASSERT_EQ(golden["plain"].size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(encode(tokenizer, texts[i], kPlain), golden["plain"][i].get<std::vector<TokenId>>())
        << texts[i];
    EXPECT_EQ(encode(tokenizer, texts[i], kSpecial),
              golden["special"][i].get<std::vector<TokenId>>())
        << texts[i];
  }
}

std::string utf8(char32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  std::string text;
  const int tail = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr int kLead[] = {0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(kLead[tail] | c >> (6 * tail));
  for (int i = tail - 1; i >= 0; --i) text += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
  return text;
}

// As corpus.py sweep(): every code point of one block of 1024, in the company where classes show.
std::string sweep_text(char32_t block) {
  std::string text;
  for (char32_t c = block * 1024; c < (block + 1) * 1024; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string x = utf8(c);
    text += "a" + x + "b1" + x + " " + x + x + "! " + x + "a'" + x + "\n" + x;
  }
  return text;
}

// FNV-1a over the ids as words, as make.py writes it.
std::string fingerprint(const std::vector<TokenId>& ids) {
  uint64_t value = 0xCBF29CE484222325;
  for (const TokenId id : ids) value = (value ^ static_cast<uint64_t>(id)) * 0x100000001B3;
  return fmt::format("{:016x}", value);
}

class VocabGolden : public testing::TestWithParam<fs::path> {};

TEST_P(VocabGolden, IdsEqualTheReference) {
  const Json golden = read_json(GetParam());
  for (const Json& pre : golden["pre"]) {
    SCOPED_TRACE(pre.dump());
    Vocab vocab = read_vocab(golden["vocab"]);
    if (pre.is_string()) vocab.pre = pre;
    vocab.model_name = golden["name"];
    for (const auto& [name, value] : golden["flags"].items()) set_flag(vocab, name, value);
    const Tokenizer tokenizer = make(vocab);
    expect_ids(tokenizer, golden);
    if (&pre != &golden["pre"].front() || !golden.contains("sweep")) continue;
    for (size_t block = 0; block < golden["sweep"].size(); ++block) {
      EXPECT_EQ(fingerprint(encode(tokenizer, sweep_text(static_cast<char32_t>(block)))),
                golden["sweep"][block].get<std::string>())
          << "code points from " << block * 1024;
    }
  }
}

std::vector<fs::path> goldens_in(const char* folder, std::string_view suffix) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(kGoldens / folder)) {
    if (entry.path().string().ends_with(suffix)) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string test_name(const testing::TestParamInfo<fs::path>& info) {
  std::string name = info.param.stem().string();
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All,
                         VocabGolden,
                         testing::ValuesIn(goldens_in("expected", ".json")),
                         test_name);

class JsonGolden : public testing::TestWithParam<fs::path> {};

TEST_P(JsonGolden, IdsEqualTheReference) {
  std::string source = GetParam().string();
  source.replace(source.rfind("expected"), 8, "tokenizer");
  Result<Tokenizer> tokenizer = Tokenizer::from_json(read_file(source));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  expect_ids(*tokenizer, read_json(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(All,
                         JsonGolden,
                         testing::ValuesIn(goldens_in("json", ".expected.json")),
                         test_name);

Vocab byte_vocab(const char* pre = "qwen2") {
  Vocab vocab = read_vocab("bytes");
  vocab.pre = pre;
  return vocab;
}

TEST(Tokenizer, GoldensCoverEveryVocabularyKind) {
  EXPECT_GE(goldens_in("expected", ".json").size(), 20u);
  EXPECT_GE(goldens_in("json", ".expected.json").size(), 3u);
}

TEST(Tokenizer, DecodeGivesTheTextBack) {
  const std::vector<std::string> texts = read_json(kGoldens / "texts.json");
  for (const char* name : {"bytes", "spm", "gemma4"}) {
    Vocab vocab = read_vocab(name);
    if (vocab.model == "gpt2") vocab.pre = "llama-bpe";
    const Tokenizer tokenizer = make(vocab);
    for (const std::string& text : texts) {
      // U+2581 stands for a space in these vocabularies, and one is put after a user-defined token.
      if (text.find("\u2581") != std::string::npos) continue;
      const std::vector<TokenId> ids = encode(tokenizer, text, {.add_special = true});
      EXPECT_EQ(*tokenizer.decode(ids, true), text) << name;
    }
  }
}

TEST(Tokenizer, RefusesWhatIsNoUtf8) {
  const Tokenizer tokenizer = make(byte_vocab());
  const std::pair<std::string, int> cases[] = {{"abc\xFF", 3},
                                               {"\xC3", 0},
                                               {"ok \xE2\x82", 3},
                                               {"\xED\xA0\x80", 0},
                                               {"\xC0\x80", 0},
                                               {"\xF5\x80\x80\x80", 0}};
  for (const auto& [text, offset] : cases) {
    const auto ids = tokenizer.encode(text);
    ASSERT_FALSE(ids);
    EXPECT_EQ(ids.error().kind, ErrorKind::kBadInput);
    EXPECT_THAT(ids.error().message, HasSubstr(fmt::format("byte offset {}", offset)));
  }
}

TEST(Tokenizer, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer tokenizer = make(byte_vocab());
  for (const TokenId id : {-1, tokenizer.vocab_size(), INT32_MAX, INT32_MIN}) {
    const auto text = tokenizer.decode(std::vector<TokenId>{0, id});
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().kind, ErrorKind::kBadInput);
    EXPECT_TRUE(tokenizer.piece(id).empty());
    EXPECT_FALSE(tokenizer.is_control(id));
    EXPECT_FALSE(tokenizer.is_end_of_generation(id));
  }
}

TEST(Tokenizer, NamesWhatItDoesNotKnow) {
  Vocab vocab = byte_vocab("no-such-cutter");
  auto made = Tokenizer::from_vocab(vocab);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::kBadInput);
  EXPECT_THAT(made.error().message, HasSubstr("no-such-cutter"));
  for (const char* model : {"t5", "rwkv", "plamo2", ""}) {
    vocab.model = model;
    made = Tokenizer::from_vocab(vocab);
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().message, HasSubstr(fmt::format("'{}'", model)));
  }
}

// The most bytes that making a tokenizer and its first use take. Linux forgets the peak on request
// (proc(5), clear_refs).
template <class Make>
int64_t peak_of_making(Make make_tokenizer) {
  std::ofstream("/proc/self/clear_refs") << 5 << std::flush;
  const int64_t before = peak_resident_bytes();
  const Tokenizer tokenizer = make_tokenizer();
  for (bool special : {false, true}) encode(tokenizer, "a", {.parse_special = special});
  return peak_resident_bytes() - before;
}
int64_t peak_of_making(const Vocab& vocab) {
  return peak_of_making([&] { return make(vocab); });
}

TEST(Tokenizer, TakesNoMoreMemoryThanItsBound) {
  Vocab merges = byte_vocab();
  for (int i = 0; i < 100'000; ++i) {
    // Halves that are no tokens: three new strings each.
    merges.tokens.push_back(fmt::format("token{}", i));
    merges.merges.push_back(fmt::format("left{} right{}", i, i));
  }
  if (!merges.types.empty()) merges.types.resize(merges.tokens.size(), TokenType::kNormal);
  if (!merges.scores.empty()) merges.scores.resize(merges.tokens.size());
  const int64_t of_merges = peak_of_making(merges);
  EXPECT_GT(of_merges, int64_t{4} << 20);
  EXPECT_LE(of_merges, Tokenizer::memory_bound(merges));

  // Few and long: an automaton of full tables would take a kilobyte a byte.
  Vocab specials = byte_vocab();
  specials.types.resize(specials.tokens.size(), TokenType::kNormal);
  std::mt19937 random(3);
  for (int i = 0; i < 64; ++i) {
    std::string text;
    for (int n = 0; n < 4096; ++n) text += static_cast<char>('!' + random() % 90);
    specials.tokens.push_back(text);
    specials.types.push_back(TokenType::kUserDefined);
  }
  if (!specials.scores.empty()) specials.scores.resize(specials.tokens.size());
  const int64_t of_specials = peak_of_making(specials);
  EXPECT_GT(of_specials, int64_t{4} << 20);
  EXPECT_LE(of_specials, Tokenizer::memory_bound(specials));

  // Many and short: states near the start of an automaton are whole tables.
  Vocab pairs = byte_vocab();
  pairs.types.resize(pairs.tokens.size(), TokenType::kNormal);
  for (int a = 1; a < 256; ++a) {
    for (int b = 1; b < 256; ++b) {
      pairs.tokens.push_back({static_cast<char>(a), static_cast<char>(b)});
      pairs.types.push_back(TokenType::kUserDefined);
    }
  }
  if (!pairs.scores.empty()) pairs.scores.resize(pairs.tokens.size());
  const int64_t of_pairs = peak_of_making(pairs);
  EXPECT_GT(of_pairs, int64_t{4} << 20);
  EXPECT_LE(of_pairs, Tokenizer::memory_bound(pairs));
}

// A tokenizer.json whose added tokens have so many bytes each.
std::string json_with_added(int n_tokens, int bytes) {
  std::mt19937 random(3);
  Json json = {{"model", {{"type", "WordLevel"}, {"vocab", {{"a", 0}}}, {"unk_token", "a"}}},
               {"added_tokens", Json::array()}};
  for (int i = 0; i < n_tokens; ++i) {
    std::string text;
    for (int n = 0; n < bytes; ++n) text += static_cast<char>('#' + random() % 50);
    json["added_tokens"].push_back({{"id", i + 1},
                                    {"content", text},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", i % 2 == 0},
                                    {"special", true}});
  }
  return json.dump();
}

TEST(Tokenizer, OfJsonTakesNoMoreMemoryThanItsBound) {
  for (const auto& [n_tokens, bytes] : {std::pair(16, 60'000), std::pair(60'000, 16)}) {
    const std::string json = json_with_added(n_tokens, bytes);
    const int64_t peak = peak_of_making([&] { return std::move(*Tokenizer::from_json(json)); });
    EXPECT_GT(peak, int64_t{4} << 20);
    EXPECT_LE(peak, Tokenizer::memory_bound_of_json(static_cast<int64_t>(json.size())));
  }
}

TEST(Tokenizer, RefusesAddedTokensWithoutEnd) {
  const auto made = Tokenizer::from_json(json_with_added(20, 60'000));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::kBadInput);
  EXPECT_THAT(made.error().message, HasSubstr("1200000 bytes"));
}

TEST(Tokenizer, WarnsWithoutPre) {
  Vocab vocab = byte_vocab();
  EXPECT_TRUE(make(vocab).warnings().empty());
  vocab.pre.reset();
  EXPECT_THAT(make(vocab).warnings(), testing::Contains(HasSubstr("tokenizer.ggml.pre")));
}

TEST(Tokenizer, SurvivesOddVocabularies) {
  Vocab empty;
  empty.model = "llama";
  EXPECT_FALSE(Tokenizer::from_vocab(empty));
  Vocab odd;  // no bytes, an empty token, a repeated one, bytes that are no UTF-8, scores and types
              // missing
  odd.model = "llama";
  odd.tokens = {"", "a", "a", "\xFF\xFE", "aa", "\u2581"};
  odd.bos = 77;
  const Tokenizer tokenizer = make(odd);
  EXPECT_FALSE(tokenizer.warnings().empty());
  EXPECT_EQ(encode(tokenizer, "aaé", {.parse_special = true}), (std::vector<TokenId>{5, 4, 0, 0}));
  odd.model = "gpt2";
  odd.pre = "gpt-2";
  odd.merges = {"a a", " ", "x", "", "b  c", "\xFF \xFE"};
  EXPECT_EQ(encode(make(odd), "aaa b"), (std::vector<TokenId>{4, 2}));
  odd.model = "bert";
  EXPECT_TRUE(Tokenizer::from_vocab(odd));
}

TEST(Tokenizer, RefusesBrokenJson) {
  for (const char* source :
       {"",
        "{",
        "null",
        "[]",
        "{}",
        R"({"model":{"type":"BPE","vocab":{},"merges":[["a","b"]]}})",
        R"({"model":{"type":"WordLevel","vocab":{"a":4294967295},"unk_token":"a"}})"}) {
    const auto made = Tokenizer::from_json(source);
    ASSERT_FALSE(made) << source;
    EXPECT_EQ(made.error().kind, ErrorKind::kBadInput);
  }
  const std::string deep = R"({"model":)" + std::string(100000, '[');
  EXPECT_FALSE(Tokenizer::from_json(deep));
}

TEST(Tokenizer, GuardKeepsControlTokensPlain) {
  constexpr char32_t kGuard = 0xF8FF;
  const std::string guard = utf8(kGuard);
  const std::string spelled = "x <|" + guard + "end_turn|> <|user" + guard + "_tag|> y" + guard;
  const std::string clean = "x <|end_turn|> <|user_tag|> y";
  const Tokenizer tokenizer = make(byte_vocab());
  const EncodeOptions options = {.parse_special = true, .guard = kGuard};
  // Plain text finds user-defined tokens, but no control token: the same as without parse_special.
  EXPECT_EQ(encode(tokenizer, spelled, options), encode(tokenizer, clean));
  EXPECT_NE(encode(tokenizer, clean, options), encode(tokenizer, clean));
  EXPECT_EQ(encode(tokenizer, spelled + "<|end_turn|>", options).back(),
            encode(tokenizer, "<|end_turn|>", options)[0]);
  const auto json = Tokenizer::from_json(read_file(kGoldens / "json/llama3.tokenizer.json"));
  ASSERT_TRUE(json);
  const std::string no_user = "x <|" + guard + "end_turn|> y" + guard;
  EXPECT_EQ(encode(*json, no_user, options), encode(*json, "x <|end_turn|> y"));
  EXPECT_EQ(encode(*json, no_user + "</s>", options).back(),
            encode(*json, "</s>", {.parse_special = true})[0]);
}

// What stands beside a tokenizer.json: the toy's own post-processor knows neither end nor start.
TEST(Tokenizer, AJsonsNamedTokens) {
  const std::string json = read_file(kGoldens / "json/llama3.tokenizer.json");
  const auto plain = Tokenizer::from_json(json);
  const auto named = Tokenizer::from_json(json, {.bos = 7, .eos = 8, .ends = {8, 65}});
  ASSERT_TRUE(plain && named);
  EXPECT_FALSE(plain->is_end_of_generation(65));
  EXPECT_TRUE(named->is_end_of_generation(65));
  EXPECT_TRUE(named->is_end_of_generation(8));
  EXPECT_FALSE(named->is_end_of_generation(9));
  EXPECT_EQ(named->bos(), 7);
  EXPECT_EQ(named->eos(), 8);
}

TEST(Tokenizer, EndsOfGeneration) {
  Vocab vocab = byte_vocab();
  vocab.tokens.push_back("<|im_end|>");  // found by its spelling, though the file calls it text
  vocab.types.push_back(TokenType::kNormal);
  const Tokenizer tokenizer = make(vocab);
  const TokenId im_end = tokenizer.vocab_size() - 1;
  EXPECT_TRUE(tokenizer.is_end_of_generation(im_end));
  EXPECT_TRUE(tokenizer.is_control(im_end));
  EXPECT_TRUE(tokenizer.is_end_of_generation(tokenizer.eos()));
  EXPECT_FALSE(tokenizer.is_end_of_generation(tokenizer.bos()));
  EXPECT_FALSE(tokenizer.is_end_of_generation(65));
}

double cpu_seconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double encode_seconds(const Tokenizer& tokenizer, const std::string& text) {
  const double start = cpu_seconds();
  EXPECT_FALSE(encode(tokenizer, text, kSpecial).empty());
  return cpu_seconds() - start;
}

// Twice the text at most 2.5 times the work; the best of five tries, as the machine may be busy.
void expect_linear(const Tokenizer& tokenizer,
                   const std::string& what,
                   const std::function<std::string(size_t)>& text) {
  const std::string one = text(1 << 20);
  const std::string two = text(2 << 20);
  double best = 99;
  for (int i = 0; i < 5 && best > 2.5; ++i) {
    best = std::min(best, encode_seconds(tokenizer, two) / encode_seconds(tokenizer, one));
  }
  EXPECT_LE(best, 2.5) << what;
}

std::function<std::string(size_t)> repeated(std::string unit) {
  return [unit](size_t n) {
    std::string text;
    while (text.size() < n) text += unit;
    return text;
  };
}

std::string random_ascii(size_t n) {
  std::mt19937 random(7);
  std::string text(n, ' ');
  for (char& c : text) c = static_cast<char>(32 + random() % 95);
  return text;
}

TEST(Tokenizer, WorkGrowsWithTheTextOnly) {
  // Hundreds of added tokens, many within each other.
  Vocab bytes = byte_vocab("qwen2");
  for (int i = 1; i <= 400; ++i) {
    bytes.tokens.push_back(i <= 40 ? std::string(static_cast<size_t>(i + 1), '\n')
                                   : fmt::format("<added_{}>", i));
    bytes.types.push_back(i % 2 == 0 ? TokenType::kControl : TokenType::kUserDefined);
  }
  const Tokenizer byte_level = make(bytes);
  for (const char* unit : {"a", " ", "\n", "7", "🙂", "<added_77>", "\n\n\n\n\n\nx"}) {
    expect_linear(byte_level, std::string("bytes ") + unit, repeated(unit));
  }
  expect_linear(byte_level, "bytes random", random_ascii);
  for (const char* name : {"spm", "gemma4", "wordpiece"}) {
    const Tokenizer tokenizer = make(read_vocab(name));
    for (const char* unit : {"a", " ", "\n", "é", "🙂", "\u0301"}) {
      expect_linear(tokenizer, std::string(name) + " " + unit, repeated(unit));
    }
    expect_linear(tokenizer, std::string(name) + " random", random_ascii);
  }
}

TEST(Tokenizer, WorkGrowsWithTheTextOnlyForEveryCutter) {
  for (const fs::path& path : goldens_in("expected", ".json")) {
    const Json golden = read_json(path);
    if (golden["vocab"] != "bytes" || !golden["pre"][0].is_string()) continue;
    const std::string pre = golden["pre"][0];
    const Tokenizer tokenizer = make(byte_vocab(pre.c_str()));
    for (const char* unit : {" ", "0", "é", "ab"}) {
      expect_linear(tokenizer, pre + " " + unit, repeated(unit));
    }
  }
}

TEST(Tokenizer, WorkGrowsWithTheTextOnlyFromTokenizerJson) {
  for (const char* name : {"llama3", "llama2", "bert"}) {
    const auto tokenizer =
        Tokenizer::from_json(read_file(kGoldens / "json" / fmt::format("{}.tokenizer.json", name)));
    ASSERT_TRUE(tokenizer);
    for (const char* unit : {"a", " ", "\n", "0", "é", "🙂", "e\u0301", "ab"}) {
      expect_linear(*tokenizer, std::string(name) + ".json " + unit, repeated(unit));
    }
  }
}

TEST(StreamDecoder, PiecesJoinToTheText) {
  const std::vector<std::string> texts = read_json(kGoldens / "texts.json");
  for (const char* name : {"bytes", "spm", "gemma4"}) {
    Vocab vocab = read_vocab(name);
    if (vocab.model == "gpt2") vocab.pre = "deepseek-v3";
    const Tokenizer tokenizer = make(vocab);
    for (const std::string& text : texts) {
      if (text.find("\uFFFD") != std::string::npos) continue;
      for (const bool skip : {false, true}) {
        const std::vector<TokenId> ids = encode(tokenizer, text, kSpecial);
        StreamDecoder decoder(tokenizer, skip);
        std::string joined;
        for (const TokenId id : ids) joined += decoder.push(id);
        EXPECT_EQ(joined.find("\uFFFD"), std::string::npos) << text;
        joined += decoder.finish();
        EXPECT_EQ(joined, *tokenizer.decode(ids, skip));
      }
    }
  }
}

TEST(StreamDecoder, NeverShowsHalfACharacter) {
  const Tokenizer tokenizer = make(read_vocab("spm"));
  const auto byte = [](int value) { return static_cast<TokenId>(3 + value); };  // <0x00> is token 3
  StreamDecoder decoder(tokenizer, false);
  EXPECT_EQ(decoder.push(byte(0xF0)), "");
  EXPECT_EQ(decoder.push(byte(0x9F)), "");
  EXPECT_EQ(decoder.push(byte(0x99)), "");
  EXPECT_EQ(decoder.push(byte(0x82)), "🙂");
  EXPECT_EQ(decoder.push(byte(0xFF)), "\uFFFD");
  EXPECT_EQ(decoder.push(byte(0xE2)), "");
  EXPECT_EQ(decoder.push(byte('a')), "\uFFFDa");
  EXPECT_EQ(decoder.push(byte(0xE2)), "");
  EXPECT_EQ(decoder.push(byte(0x82)), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

}  // namespace
}  // namespace farthing
