// libFuzzer target, by the first byte: a tokenizer.json; the vocabulary of a GGUF image; a
// vocabulary made of the bytes; or a text for two toy tokenizers. What is accepted keeps the
// tokenizer's promises: ids inside the vocabulary, streamed text equal to decoded text, and where
// the vocabulary holds every byte, the text itself back.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "load/model_file.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/toy_vocab.h"
#include "text/stream_decoder.h"
#include "text/utf8.h"

namespace farthing::fuzz {
namespace {

constexpr std::string_view kText =
    "Hello w\u00f6rld, <|im_end|></s> ab\tabc\n\n 123\u2581x \U0001F600";

std::string streamed(const Tokenizer& tokenizer,
                     const std::vector<TokenId>& ids,
                     bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const TokenId id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

// Returns the ids; none if the text was refused.
std::vector<TokenId> exercise(const Tokenizer& tokenizer, std::string_view text) {
  const int32_t size = tokenizer.vocab_size();
  require(size > 0, "accepted {} tokens", size);
  for (const TokenId special : {tokenizer.bos(), tokenizer.eos()}) {
    require(special >= -1 && special < size, "special id {} of {}", special, size);
  }
  std::vector<TokenId> plain;
  for (const bool special : {true, false}) {
    const auto ids = tokenizer.encode(text, {.add_special = special, .parse_special = special});
    if (!ids) {
      require_refusal(ids.error());
      continue;
    }
    for (const TokenId id : *ids) require(id >= 0 && id < size, "id {} of {}", id, size);
    for (const bool skip : {false, true}) {
      const auto decoded = tokenizer.decode(*ids, skip);
      require(decoded.has_value(), "doesn't decode what it encoded");
      const std::string stream = streamed(tokenizer, *ids, skip);
      require(stream == utf8_lossy(*decoded),
              "streamed '{}', decoded '{}'",
              printable(stream, 300),
              printable(*decoded, 300));
    }
    plain = *ids;
  }
  return plain;
}

// As load/ hands vocabularies on: lengths agree, ids are inside, but the rest is anything.
Vocab made_of(FuzzedDataProvider& in) {
  Vocab vocab;
  vocab.model = in.PickValueInArray({"gpt2", "llama", "bert", "gemma4", "t5"});
  constexpr const char* kPres[] = {
      "default", "llama-bpe", "qwen2", "gpt-2", "deepseek-v3", "tekken", "gpt-4o", "falcon"};
  if (in.ConsumeBool()) vocab.pre = in.PickValueInArray(kPres);
  if (in.ConsumeBool()) {
    const Vocab toy = in.ConsumeBool() ? toy_byte_vocab() : toy_spm_vocab();
    vocab.tokens = toy.tokens;
    vocab.types = toy.types;
    vocab.scores = toy.scores;
  }
  for (size_t n = in.ConsumeIntegralInRange<size_t>(0, 40); n > 0; --n) {
    std::string token = in.ConsumeRandomLengthString(10);
    if (std::find(vocab.tokens.begin(), vocab.tokens.end(), token) != vocab.tokens.end()) continue;
    vocab.tokens.push_back(std::move(token));
  }
  if (vocab.types.empty() && in.ConsumeBool()) vocab.types.resize(vocab.tokens.size());
  if (!vocab.types.empty()) {
    while (vocab.types.size() < vocab.tokens.size()) {
      vocab.types.push_back(static_cast<TokenType>(in.ConsumeIntegralInRange(0, 6)));
    }
  }
  if (!vocab.scores.empty() || in.ConsumeBool()) {
    while (vocab.scores.size() < vocab.tokens.size()) {
      vocab.scores.push_back(in.ConsumeFloatingPointInRange(-1e3f, 1e3f));
    }
  }
  for (size_t n = in.ConsumeIntegralInRange<size_t>(0, 20); n > 0; --n) {
    vocab.merges.push_back(in.ConsumeRandomLengthString(8));
  }
  const auto n_tokens = static_cast<TokenId>(vocab.tokens.size());
  for (std::optional<TokenId>* id :
       {&vocab.bos, &vocab.eos, &vocab.eot, &vocab.unknown, &vocab.separator}) {
    if (n_tokens > 0 && in.ConsumeBool()) *id = in.ConsumeIntegralInRange<TokenId>(0, n_tokens - 1);
  }
  for (std::optional<bool>* flag : {&vocab.add_bos,
                                    &vocab.add_eos,
                                    &vocab.add_space_prefix,
                                    &vocab.remove_extra_whitespaces,
                                    &vocab.lowercase}) {
    if (in.ConsumeBool()) *flag = in.ConsumeBool();
  }
  return vocab;
}

void fuzz_vocab(const Vocab& vocab, std::string_view text) {
  const auto tokenizer = Tokenizer::from_vocab(vocab);
  if (!tokenizer) return require_refusal(tokenizer.error());
  require(std::cmp_equal(tokenizer->vocab_size(), vocab.tokens.size()), "another size");
  exercise(*tokenizer, text);
}

void fuzz_text(std::string text) {
  struct Toy {
    Tokenizer tokenizer;
    bool spaces_are_underlines;
  };
  static const Toy toys[] = {{toy_tokenizer(toy_byte_vocab()), false},
                             {toy_tokenizer(toy_spm_vocab()), true}};
  for (const Toy& toy : toys) {
    const auto encoded = toy.tokenizer.encode(text);
    if (!is_utf8(text)) {
      require(!encoded, "accepted what is no UTF-8");
      require_refusal(encoded.error());
      const std::string offset = fmt::format("byte offset {}", utf8_valid_prefix(text));
      require(encoded.error().message.find(offset) != std::string::npos,
              "{}, not {}",
              encoded.error().message,
              offset);
      continue;
    }
    const std::vector<TokenId> ids = exercise(toy.tokenizer, text);
    for (const TokenId id : ids) {
      require(!toy.tokenizer.is_control(id), "text became control token {}", id);
    }
    const auto back = toy.tokenizer.decode(ids);
    require(back.has_value(), "doesn't decode");
    // U+2581 stands for a space there: it comes back as one.
    std::string wanted = text;
    for (size_t at;
         toy.spaces_are_underlines && (at = wanted.find("\u2581")) != std::string::npos;) {
      wanted.replace(at, 3, " ");
    }
    require(
        *back == wanted, "'{}' came back as '{}'", printable(wanted, 300), printable(*back, 300));
  }
}

}  // namespace
}  // namespace farthing::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace farthing;
  using namespace farthing::fuzz;
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == '{') {  // so that a plain tokenizer.json is a seed
    const auto tokenizer = Tokenizer::from_json({reinterpret_cast<const char*>(data), size});
    if (!tokenizer) {
      require_refusal(tokenizer.error());
    } else {
      exercise(*tokenizer, kText);
    }
  } else if (data[0] == 'G') {  // and a GGUF file
    const auto file = read_model_image(std::as_bytes(std::span(data, size)));
    if (file && file->vocab) fuzz_vocab(*file->vocab, kText);
  } else if (data[0] % 2 == 0) {
    FuzzedDataProvider in(data + 1, size - 1);
    const Vocab vocab = made_of(in);
    const std::string text = in.ConsumeRemainingBytesAsString();
    fuzz_vocab(vocab, text.empty() ? kText : text);
  } else {
    fuzz_text(std::string(rest.substr(0, 4096)));
  }
  return 0;
}
