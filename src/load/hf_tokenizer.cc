#include "load/hf_tokenizer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "base/utf8.h"
#include "core/vocab.h"
#include "load/json_events.h"

namespace farthing {
namespace {

constexpr uint64_t kMaxTokenizerConfig = uint64_t{16} << 20;  // bytes
constexpr uint64_t kMaxTokenBytes = 65'536;
constexpr uint64_t kMaxFacts = 4096;  // scalars of the small parts of tokenizer.json

// What the tables of a tokenizer.json hold: texts by id, in one arena.
class Tokens {
 public:
  explicit Tokens(Allowance& allowance) : allowance_(allowance) {}

  Status add(std::string_view text, uint64_t id) {
    if (id >= kMaxVocabulary) return bad_input("id {}, at most {} are allowed", id, kMaxVocabulary - 1);
    if (text.size() > kMaxTokenBytes) return bad_input("a token of {} bytes", text.size());
    if (id >= places_.size()) {
      FARTHING_TRY_VOID(allowance_.take((id + 1 - places_.size()) * 2 * sizeof(Place)));
      places_.resize(id + 1);
    }
    Place& place = places_[id];
    if (place.is_set && this->text(id) != text) {
      return bad_input("id {} is '{}' and '{}'", id, printable(this->text(id)), printable(text));
    }
    if (place.is_set) return {};
    FARTHING_TRY_VOID(allowance_.take(2 * text.size()));
    place = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(text.size()), true};
    arena_ += text;
    return {};
  }

  size_t size() const { return places_.size(); }
  bool has(size_t id) const { return id < places_.size() && places_[id].is_set; }
  std::string_view text(size_t id) const {
    return std::string_view(arena_).substr(places_[id].begin, places_[id].size);
  }

  // After the last add().
  void index() {
    by_text_.clear();
    for (size_t id = 0; id < places_.size(); ++id) {
      if (places_[id].is_set) by_text_.push_back(static_cast<uint32_t>(id));
    }
    std::ranges::sort(by_text_, {}, [&](uint32_t id) { return text(id); });
  }
  std::optional<size_t> find(std::string_view wanted) const {
    const auto it = std::ranges::lower_bound(by_text_, wanted, {}, [&](uint32_t id) { return text(id); });
    if (it == by_text_.end() || text(*it) != wanted) return std::nullopt;
    return *it;
  }

 private:
  struct Place {
    uint32_t begin = 0, size = 0;
    bool is_set = false;
  };
  Allowance& allowance_;
  std::string arena_;
  std::vector<Place> places_;
  std::vector<uint32_t> by_text_;
};

// Strings as GGUF stores an array of them: u64 length, bytes.
class StringArray {
 public:
  void add(std::string_view text) {
    const uint64_t length = text.size();
    const auto* raw = reinterpret_cast<const std::byte*>(&length);
    bytes_.insert(bytes_.end(), raw, raw + sizeof length);
    const auto* characters = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), characters, characters + text.size());
    ++count_;
  }
  uint64_t count() const { return count_; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
  uint64_t count_ = 0;
};

struct Added {
  std::string content;
  std::optional<uint64_t> id;
  bool special = false;
};

// The merges in order, their halves in one arena.
class Merges {
 public:
  explicit Merges(Allowance& allowance) : allowance_(allowance) {}

  Status add(std::string_view left, std::string_view right) {
    if (left.empty() || right.empty()) return bad_input("a merge with an empty part");
    if (places_.size() == kMaxMerges) return bad_input("more than {} merges", kMaxMerges);
    if (left.size() + right.size() > kMaxTokenBytes) return bad_input("a merge is too long");
    FARTHING_TRY_VOID(allowance_.take(2 * (sizeof(Place) + left.size() + right.size())));
    const auto begin = static_cast<uint32_t>(arena_.size());
    const auto middle = begin + static_cast<uint32_t>(left.size());
    places_.push_back({begin, middle, middle + static_cast<uint32_t>(right.size())});
    arena_ += left;
    arena_ += right;
    return {};
  }

  size_t size() const { return places_.size(); }
  size_t text_bytes() const { return arena_.size(); }
  std::string_view left(size_t i) const { return part(places_[i].begin, places_[i].middle); }
  std::string_view right(size_t i) const { return part(places_[i].middle, places_[i].end); }
  std::string_view whole(size_t i) const { return part(places_[i].begin, places_[i].end); }

 private:
  struct Place {
    uint32_t begin, middle, end;
  };
  std::string_view part(uint32_t begin, uint32_t end) const {
    return std::string_view(arena_).substr(begin, end - begin);
  }
  Allowance& allowance_;
  std::string arena_;
  std::vector<Place> places_;
};

// A whole tokenizer.json: its tables, and of the rest the scalars.
class Document {
 public:
  explicit Document(Allowance& allowance)
      : tokens(allowance), merges(allowance), allowance_(allowance) {}

  Status read(std::span<const std::byte> text) {
    FARTHING_TRY_VOID(read_json(
        text,
        {[this](JsonPath path, std::optional<MetaValue> value) { return scalar(path, value); },
         [this](JsonPath path) { return ended(path); }}));
    tokens.index();
    return {};
  }

  Tokens tokens;
  Merges merges;
  std::vector<std::pair<size_t, bool>> added;  // id, special
  Metadata facts;

 private:
  Status scalar(JsonPath path, std::optional<MetaValue>& value) {
    if (path[0].key == "added_tokens") return added_field(path, value);
    if (path[0].key == "model" && path.size() > 1) {
      if (path[1].key == "vocab") return in(path, token(path, value));
      if (path[1].key == "merges") return in(path, merge(path, value));
    }
    if (!value) return {};
    if (facts.values.size() == kMaxFacts) {
      return bad_input("key '{}': more than {} values beside vocabulary and merges",
                       printable(joined(path)),
                       kMaxFacts);
    }
    std::string key = joined(path);
    uint64_t cost = 128 + Allowance::string_cost(key.size());
    if (const auto* s = std::get_if<std::string>(&*value)) cost += Allowance::string_cost(s->size());
    FARTHING_TRY_VOID(in(path, allowance_.take(cost)));
    facts.values.insert_or_assign(std::move(key), *std::move(value));
    return {};
  }

  Status ended(JsonPath path) {
    if (path[0].key == "added_tokens" && path.size() == 2) return in(path, end_added());
    if (path.size() == 3 && path[0].key == "model" && path[1].key == "merges") {
      return in(path, end_pair());
    }
    return {};
  }

  static Status in(JsonPath path, Status status) {
    if (status) return status;
    return std::move(status).error().in(fmt::format("key '{}'", printable(joined(path))));
  }

  Status token(JsonPath path, const std::optional<MetaValue>& value) {
    const auto* id = value ? std::get_if<uint64_t>(&*value) : nullptr;
    if (path.size() != 3 || path[2].index || id == nullptr) {
      return bad_input("must be text and id of a token: farthing reads BPE vocabularies in folders");
    }
    return tokens.add(path[2].key, *id);
  }

  // "left right", or ["left", "right"].
  Status merge(JsonPath path, const std::optional<MetaValue>& value) {
    const auto* text = value ? std::get_if<std::string>(&*value) : nullptr;
    if (text == nullptr || path.size() < 3 || path.size() > 4 || !path[2].index) {
      return bad_input("must be a list of merges, two parts each");
    }
    if (path.size() == 4) {
      if (pair_.size() == 2) return bad_input("a merge of more than two parts");
      pair_.push_back(*text);
      return {};
    }
    const size_t space = text->find(' ', 1);
    if (space == std::string::npos) return bad_input("no two parts with a space between");
    const std::string_view whole = *text;
    return merges.add(whole.substr(0, space), whole.substr(space + 1));
  }
  Status end_pair() {
    const std::vector<std::string> pair = std::exchange(pair_, {});
    if (pair.size() != 2) return bad_input("a merge has two parts");
    return merges.add(pair[0], pair[1]);
  }

  Status added_field(JsonPath path, const std::optional<MetaValue>& value) {
    if (path.size() != 3 || !value) return {};
    if (path[2].key == "id") {
      if (const auto* id = std::get_if<uint64_t>(&*value)) added_.id = *id;
    } else if (path[2].key == "content") {
      if (const auto* text = std::get_if<std::string>(&*value)) added_.content = *text;
    } else if (path[2].key == "special") {
      if (const auto* special = std::get_if<bool>(&*value)) added_.special = *special;
    }
    return {};
  }
  Status end_added() {
    const Added token = std::exchange(added_, {});
    if (!token.id || token.content.empty()) return bad_input("must have an id and a content");
    FARTHING_TRY_VOID(tokens.add(token.content, *token.id));
    FARTHING_TRY_VOID(allowance_.take(2 * sizeof(added[0])));
    added.emplace_back(*token.id, token.special);
    return {};
  }

  Allowance& allowance_;
  Added added_;                    // the one being read
  std::vector<std::string> pair_;  // the merge being read
};

// ---- pre-tokenizers: what GGUF calls a way of cutting text into words ----

#define FARTHING_LLAMA3_TAIL                                    \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define FARTHING_LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"

struct PreTokenizer {
  std::string_view name;        // tokenizer.ggml.pre
  std::string_view steps;       // as describe_steps() writes them
  std::optional<bool> ignores_merges;  // for a token that is in the vocabulary
};
// Sources of the expressions: the tokenizer.json files of the families' releases; the names are
// those that rust/src/tokenizer/pretokenize.rs gives the same meaning.
constexpr PreTokenizer kPreTokenizers[] = {
    {"gpt-2", "ByteLevel(regex)", {}},
    {"smollm", "Digits(each) ByteLevel(regex)", {}},
    {"llama-bpe",
     "Split(" FARTHING_LLAMA3_HEAD "|\\p{N}{1,3}" FARTHING_LLAMA3_TAIL ") ByteLevel",
     true},
    {"dbrx",
     "Split(" FARTHING_LLAMA3_HEAD "|\\p{N}{1,3}" FARTHING_LLAMA3_TAIL ") ByteLevel",
     false},
    {"qwen2",
     "Split(" FARTHING_LLAMA3_HEAD "|\\p{N}" FARTHING_LLAMA3_TAIL ") ByteLevel",
     {}},
    {"tekken",
     "Split([^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
     "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
     "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+) ByteLevel",
     true},
};

#undef FARTHING_LLAMA3_TAIL
#undef FARTHING_LLAMA3_HEAD

class Facts {
 public:
  explicit Facts(const Metadata& facts) : facts_(facts) {}

  std::string text(std::string_view key) const {
    const MetaValue* value = facts_.find(key);
    const auto* text = value == nullptr ? nullptr : std::get_if<std::string>(value);
    return text == nullptr ? std::string() : *text;
  }
  bool flag(std::string_view key, bool otherwise) const {
    const MetaValue* value = facts_.find(key);
    const auto* flag = value == nullptr ? nullptr : std::get_if<bool>(value);
    return flag == nullptr ? otherwise : *flag;
  }
  bool has(std::string_view key) const { return facts_.find(key) != nullptr; }

  // The prefixes of the steps of `part` ("normalizer"): itself, or those of its sequence `list`.
  std::vector<std::string> steps(std::string_view part, std::string_view list) const {
    std::vector<std::string> out;
    if (text(fmt::format("{}.type", part)) != "Sequence") {
      if (has(fmt::format("{}.type", part))) out.emplace_back(part);
      return out;
    }
    for (int i = 0; i < 16; ++i) {
      std::string prefix = fmt::format("{}.{}.{}", part, list, i);
      if (!has(prefix + ".type")) break;
      out.push_back(std::move(prefix));
    }
    return out;
  }

 private:
  const Metadata& facts_;
};

std::string describe_step(const Facts& facts, const std::string& at) {
  const std::string type = facts.text(at + ".type");
  if (type == "Split") {
    return facts.flag(at + ".invert", false) || facts.text(at + ".behavior") != "Isolated"
               ? "Split"
               : fmt::format("Split({})", facts.text(at + ".pattern.Regex"));
  }
  if (type == "Digits") return facts.flag(at + ".individual_digits", false) ? "Digits(each)" : type;
  if (type == "ByteLevel" && !facts.flag(at + ".add_prefix_space", true)) {
    return facts.flag(at + ".use_regex", true) ? "ByteLevel(regex)" : "ByteLevel";
  }
  return type == "ByteLevel" ? "ByteLevel(prefix)" : type;
}

std::string describe_steps(const Facts& facts) {
  std::string out;
  for (const std::string& at : facts.steps("pre_tokenizer", "pretokenizers")) {
    out += fmt::format("{}{}", out.empty() ? "" : " ", describe_step(facts, at));
  }
  return out;
}

// ---- the keys ----

class Writer {
 public:
  Writer(const HfTokenizer& files,
         const Document& document,
         Allowance& allowance,
         Metadata& out,
         std::vector<std::vector<std::byte>>& made,
         std::vector<std::string>& notes)
      : files_(files),
        document_(document),
        facts_(document.facts),
        allowance_(allowance),
        out_(out),
        made_(made),
        notes_(notes) {}

  Status write(const Metadata& config) {
    const std::string type = facts_.text("model.type");
    if (!type.empty() && type != "BPE") {
      return bad_input("key 'model.type': '{}': farthing reads BPE vocabularies in folders",
                       printable(type));
    }
    FARTHING_TRY_VOID(write_tokens());
    FARTHING_TRY_VOID(is_byte_level() ? write_byte_level() : write_pieces());
    write_post_processor();
    write_special(config);
    return write_template(config);
  }

 private:
  void put(std::string_view suffix, MetaValue value) {
    out_.values.insert_or_assign(fmt::format("tokenizer.ggml.{}", suffix), std::move(value));
  }
  void put_array(std::string_view suffix, MetaType type, uint64_t count, std::vector<std::byte> bytes) {
    made_.push_back(std::move(bytes));
    put(suffix, MetaArray{type, count, made_.back()});
  }
  Status take(std::string_view key, uint64_t bytes) {
    auto taken = allowance_.take(bytes);
    return taken ? taken : Status(std::move(taken).error().in(fmt::format("key '{}'", key)));
  }
  template <class T>
  void put_numbers(std::string_view suffix, MetaType type, const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    put_array(suffix, type, values.size(), {bytes.begin(), bytes.end()});
  }

  bool is_byte_level() const {
    for (const auto& [part, list] : {std::pair("pre_tokenizer", "pretokenizers"),
                                     std::pair("decoder", "decoders")}) {
      for (const std::string& at : facts_.steps(part, list)) {
        if (facts_.text(at + ".type") == "ByteLevel") return true;
      }
    }
    return false;
  }

  // Ids that the file gives no text are padded, as converters do it.
  Status write_tokens() {
    const Tokens& tokens = document_.tokens;
    const auto n = static_cast<size_t>(files_.vocab_size);
    if (tokens.size() == 0) return bad_input("key 'model.vocab': the vocabulary is empty");
    if (tokens.size() > n) {
      notes_.push_back(fmt::format("tokenizer.json: {} tokens beyond the {} that the model has",
                                   tokens.size() - n,
                                   n));
    }
    uint64_t bytes = 0;
    for (size_t id = 0; id < n; ++id) {
      bytes += sizeof(uint64_t) + (tokens.has(id) ? tokens.text(id).size() : 16);
    }
    FARTHING_TRY_VOID(take("model.vocab", 2 * bytes + n * 2 * sizeof(int32_t)));
    StringArray array;
    types_.assign(n, static_cast<int32_t>(TokenType::kNormal));
    for (size_t id = 0; id < n; ++id) {
      const bool has = tokens.has(id) && !tokens.text(id).empty();
      if (!has) types_[id] = static_cast<int32_t>(TokenType::kUnused);
      array.add(has ? tokens.text(id) : std::string_view(fmt::format("[PAD{}]", id)));
    }
    for (const auto& [id, special] : document_.added) {
      if (id < n) {
        types_[id] = static_cast<int32_t>(special ? TokenType::kControl : TokenType::kUserDefined);
      }
    }
    const uint64_t count = array.count();
    put_array("tokens", MetaType::kString, count, array.take());
    return {};
  }

  Status write_byte_level() {
    put("model", std::string("gpt2"));
    const std::string steps = describe_steps(facts_);
    const bool ignores = facts_.flag("model.ignore_merges", false);
    for (const PreTokenizer& pre : kPreTokenizers) {
      if (pre.steps == steps && pre.ignores_merges.value_or(ignores) == ignores) {
        put("pre", std::string(pre.name));
        break;
      }
    }
    if (out_.find("tokenizer.ggml.pre") == nullptr) {
      notes_.push_back(
          "tokenizer.json: words are cut in a way that no GGUF name is known for: a GGUF made of "
          "this folder tokenizes differently");
    }
    const Merges& merges = document_.merges;
    FARTHING_TRY_VOID(take("model.merges", 2 * (9 * merges.size() + merges.text_bytes())));
    StringArray array;
    for (size_t i = 0; i < merges.size(); ++i) {
      array.add(fmt::format("{} {}", merges.left(i), merges.right(i)));
    }
    const uint64_t count = array.count();
    put_array("merges", MetaType::kString, count, array.take());
    put_numbers("token_type", MetaType::kInt32, types_);
    return {};
  }

  // Pieces are joined best score first, which is the order of the merges that make them.
  Status write_pieces() {
    put("model", std::string("llama"));
    put("pre", std::string("default"));
    const Tokens& tokens = document_.tokens;
    FARTHING_TRY_VOID(take("model.vocab", types_.size() * 2 * sizeof(float)));
    std::vector<float> scores(types_.size(), 0.0F);
    std::vector<bool> is_made(types_.size());
    int32_t rank = 0;
    for (size_t i = 0; i < document_.merges.size(); ++i) {
      const auto id = tokens.find(document_.merges.whole(i));
      if (!id || *id >= scores.size() || is_made[*id]) continue;
      is_made[*id] = true;
      scores[*id] = -static_cast<float>(rank++);
    }
    for (size_t id = 0; id < scores.size(); ++id) {
      const bool is_byte = tokens.has(id) && spells_byte(tokens.text(id));
      const bool is_plain = types_[id] == static_cast<int32_t>(TokenType::kNormal);
      if (is_byte) types_[id] = static_cast<int32_t>(TokenType::kByte);
      if (is_plain && !is_byte && !is_made[id]) scores[id] = -static_cast<float>(rank);
    }
    const auto unknown = tokens.find(facts_.text("model.unk_token"));
    if (unknown && *unknown < types_.size()) {
      types_[*unknown] = static_cast<int32_t>(TokenType::kUnknown);
    }
    put_numbers("scores", MetaType::kFloat32, scores);
    put_numbers("token_type", MetaType::kInt32, types_);
    put("add_space_prefix", puts_space_first());
    return {};
  }

  static bool spells_byte(std::string_view text) {
    return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') &&
           std::ranges::all_of(text.substr(3, 2), [](unsigned char c) {
             return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
           });
  }

  bool puts_space_first() const {
    for (const std::string& at : facts_.steps("normalizer", "normalizers")) {
      if (facts_.text(at + ".type") == "Prepend") return true;
    }
    for (const std::string& at : facts_.steps("pre_tokenizer", "pretokenizers")) {
      if (facts_.text(at + ".type") != "Metaspace") continue;
      const std::string scheme = facts_.text(at + ".prepend_scheme");
      return scheme.empty() ? facts_.flag(at + ".add_prefix_space", true) : scheme != "never";
    }
    return false;
  }

  // What is put around a text.
  void write_post_processor() {
    bool bos = false, eos = false;
    for (const std::string& at : facts_.steps("post_processor", "processors")) {
      if (facts_.text(at + ".type") != "TemplateProcessing") continue;
      bool after = false;
      for (int i = 0; i < 16; ++i) {
        const std::string item = fmt::format("{}.single.{}", at, i);
        if (facts_.has(item + ".Sequence.id")) after = true;
        if (facts_.has(item + ".SpecialToken.id")) (after ? eos : bos) = true;
      }
    }
    put("add_bos_token", bos);
    put("add_eos_token", eos);
  }

  void put_id(std::string_view role, std::optional<uint64_t> id) {
    if (!id) return;
    if (*id >= types_.size()) {
      notes_.push_back(fmt::format("{} token {}: the model has {} tokens", role, *id, types_.size()));
      return;
    }
    put(fmt::format("{}_token_id", role), *id);
  }

  // A token named by its text: "bos_token", a string or an object with its content.
  std::optional<uint64_t> named(const Metadata& config, std::string_view key) const {
    const Facts facts(config);
    std::string text = facts.text(key);
    if (text.empty()) text = facts.text(fmt::format("{}.content", key));
    if (text.empty()) return std::nullopt;
    const auto id = document_.tokens.find(text);
    return id ? std::optional<uint64_t>(*id) : std::nullopt;
  }

  void write_special(const Metadata& config) {
    std::vector<uint64_t> ends(files_.end_ids.begin(), files_.end_ids.end());
    auto eos = named(config, "eos_token");
    if (!eos && !ends.empty()) eos = ends.front();
    put_id("eos", eos);
    std::erase_if(ends, [&](uint64_t id) { return eos && id == *eos; });
    // GGUF has room for three tokens that end a generation.
    if (!ends.empty()) put_id("eot", ends[0]);
    if (ends.size() > 1) put_id("eom", ends[1]);
    auto bos = named(config, "bos_token");
    if (!bos && files_.tokenizer_config.empty() && files_.bos_id >= 0) {
      bos = static_cast<uint64_t>(files_.bos_id);
    }
    put_id("bos", bos);
    auto unknown = named(config, "unk_token");
    if (!unknown) unknown = named(document_.facts, "model.unk_token");
    put_id("unknown", unknown);
    put_id("padding", named(config, "pad_token"));
  }

  Status write_template(const Metadata& config) {
    std::string text;
    if (!files_.chat_template.empty()) {
      if (files_.chat_template.size() > kMaxTemplateBytes) {
        return bad_input("chat_template.jinja: {} bytes, at most {} are allowed: offset 0",
                         files_.chat_template.size(),
                         kMaxTemplateBytes);
      }
      text.assign(reinterpret_cast<const char*>(files_.chat_template.data()),
                  files_.chat_template.size());
    } else {
      const Facts facts(config);
      text = facts.text("chat_template");
      for (int i = 0; i < 64 && text.empty(); ++i) {
        const std::string at = fmt::format("chat_template.{}", i);
        if (facts.text(at + ".name") == "default") text = facts.text(at + ".template");
      }
    }
    FARTHING_TRY_VOID(take("chat_template", Allowance::string_cost(text.size())));
    if (!text.empty()) out_.values.insert_or_assign("tokenizer.chat_template", std::move(text));
    return {};
  }

  const HfTokenizer& files_;
  const Document& document_;
  const Facts facts_;
  Allowance& allowance_;
  Metadata& out_;
  std::vector<std::vector<std::byte>>& made_;
  std::vector<std::string>& notes_;
  std::vector<int32_t> types_;
};

}  // namespace

Status read_hf_tokenizer(const HfTokenizer& files,
                         Allowance& allowance,
                         Metadata& out,
                         std::vector<std::vector<std::byte>>& made,
                         std::vector<std::string>& notes) {
  if (files.vocab_size < 1 || std::cmp_greater(files.vocab_size, kMaxVocabulary)) {
    return bad_input("key 'vocab_size': {} is outside [1, {}]", files.vocab_size, kMaxVocabulary);
  }
  Allowance reading;  // given back when this returns
  Document document(reading);
  if (auto ok = document.read(files.tokenizer_json); !ok) {
    return std::move(ok).error().in("tokenizer.json");
  }
  Metadata config;
  if (!files.tokenizer_config.empty()) {
    auto flat = flatten_json(
        files.tokenizer_config, kMaxTokenizerConfig, {"added_tokens_decoder"}, reading);
    if (!flat) return std::move(flat).error().in("tokenizer_config.json");
    config = *std::move(flat);
  }
  auto written = Writer(files, document, allowance, out, made, notes).write(config);
  if (!written) return std::move(written).error().in("tokenizer.json");
  return {};
}

}  // namespace farthing
