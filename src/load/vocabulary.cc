#include "load/vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/utf8.h"
#include "load/byte_reader.h"

namespace farthing {
namespace {

constexpr std::string_view kModel = "tokenizer.ggml.model";
constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kScores = "tokenizer.ggml.scores";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr std::string_view kMerges = "tokenizer.ggml.merges";
constexpr std::string_view kCharsmap = "tokenizer.ggml.precompiled_charsmap";
constexpr std::string_view kTemplate = "tokenizer.chat_template";

Error changed(std::string_view key) {
  return bad_input("key '{}': the file changed while it was read", key);
}

// The array under `key`, nullptr if absent; its element type must be one of `allowed`.
Result<const MetaArray*> find_array(const Metadata& metadata,
                                    std::string_view key,
                                    std::initializer_list<MetaType> allowed) {
  const MetaValue* value = metadata.find(key);
  const MetaArray* none = nullptr;
  if (value == nullptr) return none;
  const auto* array = std::get_if<MetaArray>(value);
  if (array != nullptr &&
      std::find(allowed.begin(), allowed.end(), array->element) != allowed.end()) {
    return array;
  }
  return bad_input("key '{}': holds {}, must be an array of {}",
                   key,
                   meta_type_name(*value),
                   meta_type_name(*allowed.begin()));
}

Status check_array_length(std::string_view key, const MetaArray& array, uint64_t expected) {
  if (array.count == expected) return {};
  return bad_input("key '{}': {} values for {} tokens", key, array.count, expected);
}

Result<std::vector<std::string>> copy_strings(std::string_view key,
                                              const MetaArray& array,
                                              uint64_t cap,
                                              Allowance& allowance) {
  if (array.count > cap)
    return bad_input("key '{}': {} strings, at most {} are allowed", key, array.count, cap);
  std::vector<std::string> out;
  if (auto taken = allowance.take(array.count * sizeof(std::string)); !taken) {
    return std::move(taken).error().in(fmt::format("key '{}'", key));
  }
  out.reserve(array.count);
  ByteReader in(array.bytes);
  std::string_view text;
  for (uint64_t i = 0; i < array.count; ++i) {
    if (!in.try_read_string(text)) return changed(key);
    if (auto taken = allowance.take(Allowance::string_cost(text.size()) - sizeof(std::string));
        !taken) {
      return std::move(taken).error().in(fmt::format("key '{}', element {}", key, i));
    }
    out.emplace_back(text);
  }
  return out;
}

// Token texts must differ, or text would have two spellings in ids. Ids are dealt into buckets by
// hash, and a bucket is sorted by text: linear for real vocabularies, n log n for one made of hash
// collisions.
Status check_distinct(const std::vector<std::string>& tokens, Allowance& allowance) {
  const size_t n_buckets = std::bit_ceil(2 * tokens.size());
  FARTHING_TRY_VOID(allowance.take((n_buckets + 1 + 2 * tokens.size()) * sizeof(uint32_t)));
  std::vector<uint32_t> bucket_of(tokens.size());
  std::vector<uint32_t> ends(n_buckets + 1);
  for (size_t i = 0; i < tokens.size(); ++i) {
    bucket_of[i] =
        static_cast<uint32_t>(std::hash<std::string_view>{}(tokens[i]) & (n_buckets - 1));
    ++ends[bucket_of[i]];
  }
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::vector<uint32_t> ids(tokens.size());
  for (size_t i = tokens.size(); i-- > 0;) ids[--ends[bucket_of[i]]] = static_cast<uint32_t>(i);
  // `ends` now holds where each bucket begins.
  for (size_t b = 0; b < n_buckets; ++b) {
    if (ends[b + 1] - ends[b] < 2) continue;
    const std::span<uint32_t> bucket(ids.data() + ends[b], ends[b + 1] - ends[b]);
    std::sort(bucket.begin(), bucket.end(), [&](uint32_t x, uint32_t y) {
      return std::tie(tokens[x], x) < std::tie(tokens[y], y);
    });
    for (size_t i = 1; i < bucket.size(); ++i) {
      if (tokens[bucket[i - 1]] != tokens[bucket[i]]) continue;
      return bad_input("key '{}': tokens {} and {} are both '{}'",
                       kTokens,
                       bucket[i - 1],
                       bucket[i],
                       printable(tokens[bucket[i]]));
    }
  }
  return {};
}

Status read_tokens(const MetaArray& array,
                   Allowance& allowance,
                   Vocab& vocab,
                   std::vector<std::string>& notes) {
  if (array.count == 0) return bad_input("key '{}': the vocabulary is empty", kTokens);
  FARTHING_TRY(vocab.tokens, copy_strings(kTokens, array, kMaxVocabulary, allowance));
  size_t n_empty = 0;
  for (size_t i = 0; i < vocab.tokens.size(); ++i) {
    if (!vocab.tokens[i].empty()) continue;
    // An empty text can't be a token; llama.cpp gives such places this name, and so do we, for
    // equal ids.
    vocab.tokens[i] = fmt::format("[EMPTY_{}]", i);
    ++n_empty;
  }
  if (n_empty > 0)
    notes.push_back(
        fmt::format("key '{}': {} empty tokens, which no text becomes", kTokens, n_empty));
  return check_distinct(vocab.tokens, allowance);
}

template <class Stored>
Status copy_scores(const MetaArray& array, std::vector<float>& out) {
  ByteReader in(array.bytes);
  Stored value{};
  for (uint64_t i = 0; i < array.count; ++i) {
    if (!in.try_read(value)) return changed(kScores);
    const auto score = static_cast<float>(value);
    if (std::isnan(score)) return bad_input("key '{}': element {} is not a number", kScores, i);
    out.push_back(score);
  }
  return {};
}

Status read_scores(const Metadata& metadata, Allowance& allowance, Vocab& vocab) {
  FARTHING_TRY(
      const MetaArray* array,
      find_array(metadata, kScores, {MetaType::kFloat32, MetaType::kInt32, MetaType::kInt8}));
  if (array == nullptr) return {};
  FARTHING_TRY_VOID(check_array_length(kScores, *array, vocab.tokens.size()));
  FARTHING_TRY_VOID(allowance.take(array->count * sizeof(float)));
  vocab.scores.reserve(array->count);
  if (array->element == MetaType::kFloat32) return copy_scores<float>(*array, vocab.scores);
  if (array->element == MetaType::kInt32) return copy_scores<int32_t>(*array, vocab.scores);
  return copy_scores<int8_t>(*array, vocab.scores);
}

template <class Stored>
Status copy_types(const MetaArray& array, std::vector<TokenType>& out) {
  ByteReader in(array.bytes);
  Stored value{};
  for (uint64_t i = 0; i < array.count; ++i) {
    if (!in.try_read(value)) return changed(kTypes);
    if (std::cmp_less(value, 0) || std::cmp_greater(value, static_cast<int>(TokenType::kByte))) {
      return bad_input("key '{}': element {} is {}, must be 0 to 6", kTypes, i, value);
    }
    out.push_back(static_cast<TokenType>(value));
  }
  return {};
}

Status read_types(const Metadata& metadata, Allowance& allowance, Vocab& vocab) {
  FARTHING_TRY(const MetaArray* array,
               find_array(metadata, kTypes, {MetaType::kInt32, MetaType::kUint32}));
  if (array == nullptr) return {};
  FARTHING_TRY_VOID(check_array_length(kTypes, *array, vocab.tokens.size()));
  FARTHING_TRY_VOID(allowance.take(array->count * sizeof(TokenType)));
  vocab.types.reserve(array->count);
  if (array->element == MetaType::kInt32) return copy_types<int32_t>(*array, vocab.types);
  return copy_types<uint32_t>(*array, vocab.types);
}

bool is_hex_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool spells_byte(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>') &&
         is_hex_digit(token[3]) && is_hex_digit(token[4]);
}

// Where bytes are spelled "<0x0A>" a token of that type must be exactly so, or a reader computes a
// byte from junk.
Status check_byte_tokens(const Vocab& vocab) {
  constexpr std::array<std::string_view, 4> kSpelled = {"llama", "t5", "gemma4", "plamo2"};
  if (std::find(kSpelled.begin(), kSpelled.end(), vocab.model) == kSpelled.end()) return {};
  for (size_t i = 0; i < vocab.types.size(); ++i) {
    if (vocab.types[i] == TokenType::kByte && !spells_byte(vocab.tokens[i])) {
      return bad_input("key '{}': token {} is of type byte, but '{}' is not of the form <0xNN>",
                       kTokens,
                       i,
                       printable(vocab.tokens[i]));
    }
  }
  return {};
}

Status read_merges(const Metadata& metadata, Allowance& allowance, Vocab& vocab) {
  FARTHING_TRY(const MetaArray* array, find_array(metadata, kMerges, {MetaType::kString}));
  if (array == nullptr) return {};
  FARTHING_TRY(vocab.merges, copy_strings(kMerges, *array, kMaxMerges, allowance));
  for (size_t i = 0; i < vocab.merges.size(); ++i) {
    // Both halves hold at least one byte; a leading space belongs to the left half.
    const std::string& merge = vocab.merges[i];
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size()) {
      return bad_input("key '{}': element {} is '{}', must be two parts with a space between",
                       kMerges,
                       i,
                       printable(merge));
    }
  }
  return {};
}

Status read_charsmap(const Metadata& metadata, Allowance& allowance, Vocab& vocab) {
  FARTHING_TRY(const MetaArray* array,
               find_array(metadata, kCharsmap, {MetaType::kUint8, MetaType::kInt8}));
  if (array == nullptr) return {};
  FARTHING_TRY_VOID(allowance.take(array->bytes.size()));
  vocab.precompiled_charsmap.assign(reinterpret_cast<const char*>(array->bytes.data()),
                                    array->bytes.size());
  return {};
}

struct SpecialId {
  std::string_view key;
  std::optional<TokenId> Vocab::* member;
  bool may_be_stray;  // out of range in models people use: noted, and as if absent
};

Status read_special_ids(const Metadata& metadata, Vocab& vocab, std::vector<std::string>& notes) {
  // "seperator" is how the format spells it. Fine-tuned models often name a padding id that they
  // never added.
  constexpr SpecialId kIds[] = {
      {"tokenizer.ggml.bos_token_id", &Vocab::bos, false},
      {"tokenizer.ggml.eos_token_id", &Vocab::eos, false},
      {"tokenizer.ggml.eot_token_id", &Vocab::eot, false},
      {"tokenizer.ggml.eom_token_id", &Vocab::eom, false},
      {"tokenizer.ggml.unknown_token_id", &Vocab::unknown, false},
      {"tokenizer.ggml.seperator_token_id", &Vocab::separator, false},
      {"tokenizer.ggml.padding_token_id", &Vocab::padding, true},
      {"tokenizer.ggml.cls_token_id", &Vocab::cls, false},
      {"tokenizer.ggml.mask_token_id", &Vocab::mask, false},
      {"tokenizer.ggml.fim_pad_token_id", &Vocab::fim_pad, true},
      {"tokenizer.ggml.fim_rep_token_id", &Vocab::fim_rep, true},
      {"tokenizer.ggml.fim_sep_token_id", &Vocab::fim_sep, true},
  };
  const auto last = static_cast<int64_t>(vocab.tokens.size()) - 1;
  for (const SpecialId& special : kIds) {
    auto id = metadata.integer(special.key, 0, last);
    if (!id && special.may_be_stray) {
      notes.push_back(fmt::format("{}: ignored", id.error().message));
      continue;
    }
    if (!id) return std::move(id).error();
    if (id->has_value()) vocab.*special.member = static_cast<TokenId>(**id);
  }
  return {};
}

Status read_flags(const Metadata& metadata, Vocab& vocab) {
  FARTHING_TRY(vocab.add_bos, metadata.boolean("tokenizer.ggml.add_bos_token"));
  FARTHING_TRY(vocab.add_eos, metadata.boolean("tokenizer.ggml.add_eos_token"));
  FARTHING_TRY(vocab.add_sep, metadata.boolean("tokenizer.ggml.add_sep_token"));
  FARTHING_TRY(vocab.add_space_prefix, metadata.boolean("tokenizer.ggml.add_space_prefix"));
  FARTHING_TRY(vocab.remove_extra_whitespaces,
               metadata.boolean("tokenizer.ggml.remove_extra_whitespaces"));
  FARTHING_TRY(vocab.lowercase, metadata.boolean("tokenizer.ggml.normalizer.lowercase"));
  FARTHING_TRY(vocab.strip_accents, metadata.boolean("tokenizer.ggml.normalizer.strip_accents"));
  return {};
}

// A string that becomes text for people or templates: UTF-8, at most `max_bytes`.
Result<std::optional<std::string>> read_utf8(const Metadata& metadata,
                                             std::string_view key,
                                             uint64_t max_bytes) {
  FARTHING_TRY(std::optional<std::string> text, metadata.string(key));
  if (!text) return text;
  if (text->size() > max_bytes) {
    return bad_input("key '{}': {} bytes, at most {} are allowed", key, text->size(), max_bytes);
  }
  const size_t valid = utf8_valid_prefix(*text);
  if (valid != text->size()) return bad_input("key '{}': not UTF-8 at byte {}", key, valid);
  return text;
}

Status read_names(const Metadata& metadata, Vocab& vocab) {
  constexpr uint64_t kMaxNameBytes = 256;
  FARTHING_TRY(std::optional<std::string> model, read_utf8(metadata, kModel, kMaxNameBytes));
  if (!model) return bad_input("key '{}' is missing, but '{}' is there", kModel, kTokens);
  vocab.model = *std::move(model);
  FARTHING_TRY(vocab.pre, read_utf8(metadata, "tokenizer.ggml.pre", kMaxNameBytes));
  // Only compared with names we know: one that can't be any of them is no reason to refuse a model.
  const MetaValue* name = metadata.find("general.name");
  const auto* text = name == nullptr ? nullptr : std::get_if<std::string>(name);
  if (text != nullptr && text->size() <= kMaxNameBytes && is_utf8(*text)) vocab.model_name = *text;
  FARTHING_TRY(std::optional<std::string> chat_template,
               read_utf8(metadata, kTemplate, kMaxTemplateBytes));
  vocab.chat_template = std::move(chat_template).value_or("");
  return {};
}

}  // namespace

Result<std::optional<Vocab>> read_vocab(const Metadata& metadata,
                                        Allowance& allowance,
                                        std::vector<std::string>& notes) {
  FARTHING_TRY(const MetaArray* tokens, find_array(metadata, kTokens, {MetaType::kString}));
  if (tokens == nullptr) {
    // A model may say that it has none; any other tokenizer without tokens is a broken file.
    FARTHING_TRY(const std::optional<std::string> model, metadata.string(kModel));
    if (!model || *model == "none" || *model == "no_vocab") return std::optional<Vocab>();
    return bad_input("key '{}' is missing, but '{}' is '{}'", kTokens, kModel, printable(*model));
  }
  Vocab vocab;
  FARTHING_TRY_VOID(read_names(metadata, vocab));
  FARTHING_TRY_VOID(read_tokens(*tokens, allowance, vocab, notes));
  FARTHING_TRY_VOID(read_scores(metadata, allowance, vocab));
  FARTHING_TRY_VOID(read_types(metadata, allowance, vocab));
  FARTHING_TRY_VOID(check_byte_tokens(vocab));
  FARTHING_TRY_VOID(read_merges(metadata, allowance, vocab));
  FARTHING_TRY_VOID(read_charsmap(metadata, allowance, vocab));
  FARTHING_TRY_VOID(read_special_ids(metadata, vocab, notes));
  FARTHING_TRY_VOID(read_flags(metadata, vocab));
  return std::optional<Vocab>(std::move(vocab));
}

}  // namespace farthing
